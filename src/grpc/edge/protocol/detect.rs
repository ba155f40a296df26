//! Which protocol a request is in.

use http::{HeaderMap, Method, Request, StatusCode, Version, header};

use super::{Codec, Family, Wire, query};

/// Why a request is no call: an HTTP answer, since no protocol is known in which to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct NotACall {
    pub(in super::super) code: StatusCode,
    pub(in super::super) sentence: &'static str,
    /// `allow`, where the HTTP method was at fault.
    pub(in super::super) allow: Option<&'static str>,
    /// `accept-post`, where the content type was.
    pub(in super::super) names_types: bool,
}

const fn not_a_call(code: StatusCode, sentence: &'static str) -> NotACall {
    NotACall { code, sentence, allow: None, names_types: false }
}

/// The content types of calls, as `accept-post` lists them.
pub(in super::super) const CONTENT_TYPES: &str = "application/json, application/proto, application/connect+json, \
     application/connect+proto, application/grpc, application/grpc+proto, application/grpc+json, \
     application/grpc-web, application/grpc-web+proto, application/grpc-web+json, application/grpc-web-text";

const UNSUPPORTED_TYPE: NotACall = NotACall {
    code: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    sentence: "This is an API of calls: content-type must be one of those in accept-post, such as application/json.\n",
    allow: None,
    names_types: true,
};
const UNKNOWN_ENCODING: NotACall = not_a_call(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "A call by GET says how its message is written: the query parameter encoding must be json or proto, as in \
     ?connect=v1&encoding=json&message={}.\n",
);
const POST_ONLY: NotACall = NotACall {
    code: StatusCode::METHOD_NOT_ALLOWED,
    sentence: "Calls are POST requests; GET takes a method without side effects and \
               ?connect=v1&encoding=json&message={}.\n",
    allow: Some("POST"),
    names_types: false,
};
const GRPC_OVER_HTTP1: NotACall = not_a_call(
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    "gRPC needs HTTP/2; over HTTP/1.1 this server speaks Connect and gRPC-Web.\n",
);

/// What is known of the method called.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Callee {
    /// Takes and gives one message; `None` when there is no such method.
    pub(in super::super) is_unary: Option<bool>,
    pub(in super::super) has_no_side_effects: bool,
}

/// How this request travels, or why it is no call.
pub(in super::super) fn detect<B>(request: &Request<B>, callee: Callee) -> Result<Wire, NotACall> {
    match *request.method() {
        Method::POST => {
            let wire = by_content_type(request.headers()).ok_or(UNSUPPORTED_TYPE)?;
            let fits = match wire.family {
                Family::ConnectUnary => callee.is_unary != Some(false),
                Family::ConnectStream => callee.is_unary != Some(true),
                Family::Grpc if request.version() < Version::HTTP_2 => return Err(GRPC_OVER_HTTP1),
                _ => true,
            };
            if fits { Ok(wire) } else { Err(UNSUPPORTED_TYPE) }
        }
        Method::GET if callee.has_no_side_effects && callee.is_unary == Some(true) => {
            let codec = query::codec(request.uri().query().unwrap_or_default()).ok_or(UNKNOWN_ENCODING)?;
            Ok(Wire { family: Family::ConnectGet, codec })
        }
        _ if callee.has_no_side_effects && callee.is_unary == Some(true) => {
            Err(NotACall { allow: Some("GET, POST"), ..POST_ONLY })
        }
        _ => Err(POST_ONLY),
    }
}

fn by_content_type(headers: &HeaderMap) -> Option<Wire> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // What nearly all calls say, letter by letter.
    if value == b"application/grpc" {
        return Some(Wire::GRPC);
    }
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next()?.strip_prefix("application/")?;
    let (family, codec) = match kind {
        "grpc" | "grpc+proto" => (Family::Grpc, Codec::Proto),
        "grpc+json" => (Family::Grpc, Codec::Json),
        "grpc-web" | "grpc-web+proto" => (Family::GrpcWeb, Codec::Proto),
        "grpc-web+json" => (Family::GrpcWeb, Codec::Json),
        "grpc-web-text" | "grpc-web-text+proto" => (Family::GrpcWebText, Codec::Proto),
        "grpc-web-text+json" => (Family::GrpcWebText, Codec::Json),
        "proto" => (Family::ConnectUnary, Codec::Proto),
        "json" => (Family::ConnectUnary, Codec::Json),
        "connect+proto" => (Family::ConnectStream, Codec::Proto),
        "connect+json" => (Family::ConnectStream, Codec::Json),
        _ => return None,
    };
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    charset
        .is_none_or(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
        .then_some(Wire { family, codec })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNARY: Callee = Callee { is_unary: Some(true), has_no_side_effects: true };
    const STREAM: Callee = Callee { is_unary: Some(false), has_no_side_effects: true };

    fn post(content_type: &str, callee: Callee) -> Result<Wire, NotACall> {
        let request = Request::post("/a.B/C").version(Version::HTTP_2).header("content-type", content_type);
        detect(&request.body(()).unwrap(), callee)
    }

    #[test]
    fn every_content_type_that_is_listed_is_a_protocol() {
        for kind in CONTENT_TYPES.split(", ") {
            assert!([UNARY, STREAM].iter().any(|callee| post(kind, *callee).is_ok()), "{kind}");
        }
        let json = Ok(Wire { family: Family::ConnectUnary, codec: Codec::Json });
        assert_eq!(post("Application/JSON; charset=UTF-8", UNARY), json);
        for kind in
            ["text/plain", "application/json; charset=latin1", "application/grpc+thrift", "application/x", ""]
        {
            assert_eq!(post(kind, UNARY), Err(UNSUPPORTED_TYPE), "{kind}");
        }
    }

    #[test]
    fn connect_keeps_unary_and_streaming_content_types_apart() {
        assert_eq!(post("application/json", STREAM), Err(UNSUPPORTED_TYPE));
        assert_eq!(post("application/connect+json", UNARY), Err(UNSUPPORTED_TYPE));
        assert!(post("application/connect+json", STREAM).is_ok());
    }

    #[test]
    fn get_is_for_unary_methods_without_side_effects() {
        let get = |callee| detect(&Request::get("/a.B/C?encoding=json").body(()).unwrap(), callee);
        assert!(get(UNARY).is_ok());
        for path in ["/a.B/C", "/a.B/C?message={}", "/a.B/C?encoding=xml"] {
            let refused = detect(&Request::get(path).body(()).unwrap(), UNARY);
            assert_eq!(refused, Err(UNKNOWN_ENCODING), "{path}");
        }
        assert_eq!(get(STREAM), Err(POST_ONLY));
        assert_eq!(get(Callee { has_no_side_effects: false, ..UNARY }), Err(POST_ONLY));
        let put = detect(&Request::put("/a.B/C").body(()).unwrap(), UNARY);
        assert_eq!(put.unwrap_err().allow, Some("GET, POST"));
    }

    #[test]
    fn grpc_needs_http_2() {
        let request = Request::post("/a.B/C").header("content-type", "application/grpc").body(()).unwrap();
        assert_eq!(detect(&request, UNARY), Err(GRPC_OVER_HTTP1));
    }
}
