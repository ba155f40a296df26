//! Calls made of bytes, so that a test can send what no client library would.

use std::{io::Write as _, net::SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use prost::Message as _;
use tenantry::proto::v1::GetTenantHealthRequest;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) const GET: &str = "/tenantry.v1.TenantHealth/GetTenantHealth";
pub(crate) const REPORT: &str = "/tenantry.v1.TenantHealth/ReportSignals";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) fn status(&self) -> Status {
        Status::from_header_map(&self.trailers).or_else(|| Status::from_header_map(&self.headers)).unwrap()
    }

    pub(crate) fn code(&self) -> Code {
        self.status().code()
    }

    pub(crate) fn reason(&self) -> String {
        self.status().get_details_error_info().unwrap().reason
    }
}

/// Opens a connection whose client part runs beside the test.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://edge{path}")).body(()).unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

/// Sends one request with this body on the connection and reads everything.
pub(crate) async fn send(
    client: &SendRequest<Bytes>,
    request: Request<()>,
    body: Vec<u8>,
) -> Result<Answer, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, mut stream) = client.send_request(request, false)?;
    stream.send_data(body.into(), true)?;
    let (head, mut rest) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = rest.data().await {
        let chunk = chunk?;
        rest.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let trailers = rest.trailers().await?.unwrap_or_default();
    Ok(Answer { http: head.status, headers: head.headers, body, trailers })
}

/// One call on a connection of its own.
pub(crate) async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    send(&connect(address).await, request(path, headers), body).await.unwrap()
}

/// A message with its five bytes of framing.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

pub(crate) fn of_tenant(tenant_id: &str) -> Vec<u8> {
    framed(0, &GetTenantHealthRequest { tenant_id: tenant_id.to_owned() }.encode_to_vec())
}

pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
