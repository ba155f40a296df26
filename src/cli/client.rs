//! Calls by name, in JSON.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

use super::exit::Failure;
use crate::proto::DESCRIPTOR_SET;

/// Largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A connection to a server.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    pool: DescriptorPool,
    timeout: Duration,
}

impl Client {
    /// Connects; with TLS where the URL begins with `https`. `ca_file` holds the authorities to trust in place of the
    /// system's, in PEM.
    pub async fn connect(server: &str, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, Failure> {
        let endpoint = endpoint(server, ca_file)?;
        let channel = endpoint.connect().await.map_err(|error| {
            let why = if is_encrypted(&endpoint) { format!(" ({})", cause(&error)) } else { String::new() };
            Failure::unreached(format!(
                "no server answers at {server}{why}; start one with `tenantry dev`, or name another with --server"
            ))
        })?;
        let pool = DescriptorPool::decode(DESCRIPTOR_SET).map_err(|error| Failure::internal(&error))?;
        Ok(Self { channel, pool, timeout })
    }

    /// Calls `Service/Method` of `tenantry.v1`, or of another package with its full name, and answers its response.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Failure> {
        let (method, message) = self.prepare(method, request)?;
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let mut grpc = self.grpc().await?;
        let answer = grpc.unary(request, path(&method)?, Dynamic { answer: method.output() }).await?;
        to_json(&answer.into_inner())
    }

    /// Calls a method that answers with a stream.
    pub async fn watch(&self, method: &str, request: Value) -> Result<Watch, Failure> {
        let (method, message) = self.prepare(method, request)?;
        let mut grpc = self.grpc().await?;
        let codec = Dynamic { answer: method.output() };
        let answer = grpc.server_streaming(Request::new(message), path(&method)?, codec).await?;
        Ok(Watch { stream: answer.into_inner() })
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Failure> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX);
        grpc.ready().await.map_err(|_| Failure::unreached("the connection to the server was lost"))?;
        Ok(grpc)
    }

    fn prepare(&self, name: &str, request: Value) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
        let (service, method) = name.split_once('/').unwrap_or((name, ""));
        let full_name =
            if service.contains('.') { service.to_owned() } else { format!("tenantry.v1.{service}") };
        let method = self
            .pool
            .get_service_by_name(&full_name)
            .and_then(|service| service.methods().find(|candidate| candidate.name() == method))
            .ok_or_else(|| Failure::internal(&format!("there is no method {name}")))?;
        let message = DynamicMessage::deserialize(method.input(), request)
            .map_err(|error| Failure::usage(format!("the arguments make no valid request: {error}")))?;
        Ok((method, message))
    }
}

fn endpoint(server: &str, ca_file: Option<&Path>) -> Result<Endpoint, Failure> {
    if !server.contains("://") {
        return Err(Failure::usage(format!(
            "--server {server} has no scheme: write http://{server}, or https://{server} where the server speaks TLS"
        )));
    }
    let no_url = || Failure::usage(format!("--server {server} is not a URL such as http://127.0.0.1:50051"));
    let endpoint = Endpoint::from_shared(server.to_owned()).map_err(|_| no_url())?;
    let endpoint = endpoint.connect_timeout(CONNECT_MAX);
    match endpoint.uri().scheme_str() {
        Some("http") => return Ok(endpoint),
        Some("https") => {}
        _ => return Err(no_url()),
    }
    let (tls, whose) = match ca_file {
        None => (ClientTlsConfig::new().with_native_roots(), "the system's certificates".to_owned()),
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| {
                Failure::usage(format!("--ca-file {} cannot be read: {error}", file.display()))
            })?;
            let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            (trusted, format!("--ca-file {}", file.display()))
        }
    };
    endpoint
        .tls_config(tls)
        .map_err(|error| Failure::usage(format!("{whose} cannot be used: {}", cause(&error))))
}

fn is_encrypted(endpoint: &Endpoint) -> bool {
    endpoint.uri().scheme_str() == Some("https")
}

/// What is at the bottom of an error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a streaming method tells.
pub struct Watch {
    stream: Streaming<DynamicMessage>,
}

impl Watch {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        self.stream.message().await?.as_ref().map(to_json).transpose()
    }
}

fn path(method: &MethodDescriptor) -> Result<PathAndQuery, Failure> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    path.parse().map_err(|_| Failure::internal(&"a method has no path"))
}

fn to_json(message: &DynamicMessage) -> Result<Value, Failure> {
    let options = SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Failure::internal(&error))
}

/// Messages whose type is known only now.
#[derive(Clone)]
struct Dynamic {
    answer: MessageDescriptor,
}

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        self.clone()
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message.encode_to_vec());
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.answer.clone(), bytes)
            .map(Some)
            .map_err(|_| Status::internal("the server's answer cannot be read; is it of another version?"))
    }
}
