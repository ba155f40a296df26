//! A protocol as a client speaks it: how a message is sent and an answer read.

use std::io::Read as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{Request, Version};
use prost::Message as _;
use serde_json::Value;
use tonic::Status;

use super::exchange::Exchange;
use crate::edge::wire::{framed, gzipped};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Grpc,
    Web,
    WebText,
    Unary,
    Get,
    Stream,
}

/// How a client speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) family: Family,
    pub(super) json: bool,
    /// Both ways.
    pub(super) gzip: bool,
    pub(super) version: Version,
}

/// How a call ended: its messages, and the code's name in Connect's words, `ok` if it succeeded.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) code: String,
    pub(super) message: String,
    /// The reason of the error's `ErrorInfo`.
    pub(super) reason: String,
}

/// Every way to speak that a method of this shape knows.
pub(super) fn all(is_unary: bool) -> Vec<Dialect> {
    let families: &[Family] = if is_unary {
        &[Family::Grpc, Family::Web, Family::WebText, Family::Unary, Family::Get]
    } else {
        &[Family::Grpc, Family::Web, Family::WebText, Family::Stream]
    };
    let mut all = Vec::new();
    for family in families {
        for json in [false, true] {
            for gzip in [false, true] {
                for version in [Version::HTTP_11, Version::HTTP_2] {
                    // gRPC needs HTTP/2.
                    if *family != Family::Grpc || version == Version::HTTP_2 {
                        all.push(Dialect { family: *family, json, gzip, version });
                    }
                }
            }
        }
    }
    all
}

impl Dialect {
    fn content_type(self) -> String {
        let codec = if self.json { "json" } else { "proto" };
        match self.family {
            Family::Grpc => format!("application/grpc+{codec}"),
            Family::Web => format!("application/grpc-web+{codec}"),
            Family::WebText => format!("application/grpc-web-text+{codec}"),
            Family::Unary | Family::Get => format!("application/{codec}"),
            Family::Stream => format!("application/connect+{codec}"),
        }
    }

    /// The headers that name the request's compression and those the client reads.
    fn compression(self) -> [&'static str; 2] {
        match self.family {
            Family::Grpc | Family::Web | Family::WebText => ["grpc-encoding", "grpc-accept-encoding"],
            Family::Unary | Family::Get => ["content-encoding", "accept-encoding"],
            Family::Stream => ["connect-content-encoding", "connect-accept-encoding"],
        }
    }

    /// A call with one message, given in both codecs.
    pub(super) fn request(self, path: &str, message: &impl prost::Message, json: &Value) -> Request<Bytes> {
        let bytes = if self.json { json.to_string().into_bytes() } else { message.encode_to_vec() };
        let bytes = if self.gzip { gzipped(&bytes) } else { bytes };
        let [encoding, accept] = self.compression();
        let mut request = Request::builder().version(self.version);
        if self.gzip {
            request = request.header(accept, "gzip");
        }
        if self.family == Family::Get {
            let codec = if self.json { "json" } else { "proto" };
            let compression = if self.gzip { "&compression=gzip" } else { "" };
            let message = URL_SAFE_NO_PAD.encode(&bytes);
            let uri = format!("{path}?connect=v1&encoding={codec}&base64=1&message={message}{compression}");
            return request.uri(uri).body(Bytes::new()).unwrap();
        }
        if self.gzip {
            request = request.header(encoding, "gzip");
        }
        let body = match self.family {
            Family::Unary => bytes,
            Family::WebText => STANDARD.encode(framed(self.gzip.into(), &bytes)).into_bytes(),
            _ => framed(self.gzip.into(), &bytes),
        };
        let request = request.method("POST").uri(path).header("content-type", self.content_type());
        request.body(body.into()).unwrap()
    }

    /// Reads an answer.
    pub(super) fn outcome(self, exchange: &Exchange) -> Outcome {
        if matches!(self.family, Family::Unary | Family::Get) {
            return self.bare(exchange);
        }
        assert_eq!(exchange.status, 200, "{self:?}: {exchange:?}");
        assert_eq!(exchange.header("content-type"), self.expected_type(), "{self:?}");
        let body =
            if self.family == Family::WebText { from_text(&exchange.body) } else { exchange.body.to_vec() };
        let mut messages = Vec::new();
        let mut end = None;
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            assert!(end.is_none(), "{self:?}: bytes after the end");
            let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
            let (flag, message) = (rest[0], &rest[5..5 + length]);
            rest = &rest[5 + length..];
            match flag {
                0 => messages.push(message.to_vec()),
                1 => messages.push(gunzipped(message)),
                _ => end = Some(message.to_vec()),
            }
        }
        let outcome = match self.family {
            Family::Stream => of_json(&serde_json::from_slice(&end.expect("an end")).unwrap()),
            Family::Grpc => of_status(&trailers(exchange)),
            _ => of_status(&end.map_or_else(|| trailers(exchange), |end| from_lines(&end))),
        };
        Outcome { messages, ..outcome }
    }

    fn expected_type(self) -> String {
        let said = self.content_type();
        if said == "application/grpc+proto" { "application/grpc".to_owned() } else { said }
    }

    fn bare(self, exchange: &Exchange) -> Outcome {
        if exchange.status != 200 {
            assert_eq!(exchange.header("content-type"), "application/json", "{self:?}: {exchange:?}");
            return of_json(&serde_json::json!({ "error": exchange.json() }));
        }
        assert_eq!(exchange.header("content-type"), self.content_type(), "{self:?}");
        let is_compressed = exchange.header("content-encoding") == "gzip";
        let message = if is_compressed { gunzipped(&exchange.body) } else { exchange.body.to_vec() };
        Outcome { messages: vec![message], ..of_json(&serde_json::json!({})) }
    }
}

fn trailers(exchange: &Exchange) -> http::HeaderMap {
    if exchange.headers.contains_key("grpc-status") {
        exchange.headers.clone()
    } else {
        exchange.trailers.clone()
    }
}

fn from_text(text: &[u8]) -> Vec<u8> {
    // Padded parts, one after the other.
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'=').map_or(rest.len(), |at| at / 4 * 4 + 4);
        bytes.extend(STANDARD.decode(&rest[..end]).unwrap());
        rest = &rest[end..];
    }
    bytes
}

fn from_lines(text: &[u8]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in std::str::from_utf8(text).unwrap().split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

pub(super) fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn of_status(trailers: &http::HeaderMap) -> Outcome {
    use tonic_types::StatusExt as _;
    let status = Status::from_header_map(trailers).expect("a status");
    let name = format!("{:?}", status.code());
    let mut code = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.push(letter.to_ascii_lowercase());
    }
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    Outcome { messages: Vec::new(), code, message: status.message().to_owned(), reason }
}

fn of_json(end: &Value) -> Outcome {
    let error = &end["error"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let code = if error.is_null() { "ok".to_owned() } else { text(&error["code"]) };
    let details = error["details"].as_array().cloned().unwrap_or_default();
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    let reason = info.map(|info| {
        let value = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text(&info["value"])).unwrap();
        let reason = tonic_types::pb::ErrorInfo::decode(value.as_slice()).unwrap().reason;
        assert_eq!(info["debug"]["reason"], reason.as_str());
        reason
    });
    Outcome {
        messages: Vec::new(),
        code,
        message: text(&error["message"]),
        reason: reason.unwrap_or_default(),
    }
}
