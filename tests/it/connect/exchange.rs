//! One HTTP exchange, made of nothing but hyper, so that a test can send what no client library would.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

impl Exchange {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends the request, on a connection of its own, in the version it names, and reads everything.
pub(super) async fn send(address: SocketAddr, request: Request<Bytes>) -> Exchange {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let request = request.map(Full::new);
    let response = if request.version() == Version::HTTP_2 {
        let (mut client, connection) =
            http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().unwrap().clone();
        parts.uri = format!("http://{address}{path}").parse().unwrap();
        client.send_request(Request::from_parts(parts, body)).await.expect("an answer")
    } else {
        let (mut client, connection) = http1::handshake(io).await.expect("HTTP/1.1 is spoken");
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        let host = address.to_string().parse().unwrap();
        parts.headers.entry("host").or_insert(host);
        client.send_request(Request::from_parts(parts, body)).await.expect("an answer")
    };
    let (head, body) = response.into_parts();
    let collected = body.collect().await.expect("a whole answer");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Exchange { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
}

/// `POST` over HTTP/1.1.
pub(super) fn post(path: &str, content_type: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}
