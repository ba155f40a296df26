//! Calls by name, in JSON.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

use super::contract;
use super::exit::Failure;

/// Largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest time for one call where nobody says how long all may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// The same of a set of flags: as long as the server works on one.
const APPLYING_MAX: Duration = Duration::from_mins(1);
const APPLYING: [&str; 2] = ["ApplyFlags", "ImportFlags"];
/// How many things are asked for at once where all are wanted: the most that there are.
const PAGE_SIZE: u32 = 1_000;
/// Longest time that means anything: a year.
const WHOLE_MAX: Duration = Duration::from_hours(24 * 365);

/// A connection to a server.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    patience: Patience,
}

/// How long all that is asked may take together.
#[derive(Debug, Clone, Copy)]
struct Patience(Option<(Duration, Instant)>);

impl Patience {
    fn new(whole: Option<Duration>) -> Self {
        Self(whole.map(|whole| (whole, Instant::now() + whole.min(WHOLE_MAX))))
    }

    /// What is left; where there is no bound, `most`.
    fn left(self, most: Duration) -> Duration {
        self.0.map_or(most, |(_, until)| until.saturating_duration_since(Instant::now()))
    }

    /// Waits for an answer; how long, where there is no bound, is for the caller to say.
    async fn wait<T, E: Into<Failure>>(
        self,
        most: Option<Duration>,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let Some(longest) = self.0.map(|_| self.left(CALL_MAX)).or(most) else {
            return answer.await.map_err(Into::into);
        };
        let late = |_| match self.0 {
            Some((whole, _)) => {
                Failure::unreached(format!("not done in {} s, the --timeout", whole.as_secs_f64()))
            }
            None => Failure::unreached(format!("the server did not answer in {} s", longest.as_secs())),
        };
        tokio::time::timeout(longest, answer).await.map_err(late)?.map_err(Into::into)
    }
}

impl Client {
    /// Connects; with TLS where the URL begins with `https`. `ca_file` holds the authorities to trust in place of the
    /// system's, in PEM. What is asked of it from now on may take `timeout` together; without one, each call 30 s.
    pub async fn connect(
        server: &str,
        ca_file: Option<&Path>,
        timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        let patience = Patience::new(timeout);
        let endpoint = endpoint(server, ca_file)?;
        let endpoint = endpoint.connect_timeout(patience.left(CONNECT_MAX).min(CONNECT_MAX));
        let channel = endpoint.connect().await.map_err(|error| {
            let why = if is_encrypted(&endpoint) { format!(" ({})", cause(&error)) } else { String::new() };
            Failure::unreached(format!(
                "no server answers at {server}{why}; start one with `tenantry dev`, or name another (with --server; a stub by its \
                 URL, or with the --dev-stub-port that `tenantry dev` was given)"
            ))
        })?;
        Ok(Self { channel, patience })
    }

    /// Calls `Service/Method` of `tenantry.v1`, or of another package with its full name, and answers its response.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Failure> {
        let (method, message) = Self::prepare(method, request)?;
        let mut request = Request::new(message);
        // The server is told a little more, so that it is here that the time runs out.
        let most = if APPLYING.contains(&method.name()) { APPLYING_MAX } else { CALL_MAX };
        request.set_timeout(self.patience.left(most) + Duration::from_secs(1));
        let path = path(&method)?;
        let answer = async {
            let mut grpc = self.grpc().await?;
            let answer = grpc.unary(request, path, Dynamic { answer: method.output() }).await?;
            Ok::<_, Failure>(answer.into_inner())
        };
        to_json(&self.patience.wait(Some(most), answer).await?)
    }

    /// Calls a method that lists until all pages are there, and answers them as one; `field` has the things.
    pub(super) async fn list(&self, method: &str, mut request: Value, field: &str) -> Result<Value, Failure> {
        request["pageSize"] = PAGE_SIZE.into();
        let mut whole = self.call(method, request.clone()).await?;
        while let Some(token) = whole["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
            request["pageToken"] = token.into();
            let mut page = self.call(method, request.clone()).await?;
            if let (Some(all), Some(more)) = (whole[field].as_array_mut(), page[field].as_array_mut()) {
                all.append(more);
            }
            whole["nextPageToken"] = page["nextPageToken"].take();
        }
        Ok(whole)
    }

    /// Calls a method that answers with a stream.
    pub async fn watch(&self, method: &str, request: Value) -> Result<Watch, Failure> {
        let (method, message) = Self::prepare(method, request)?;
        let path = path(&method)?;
        let answer = async {
            let mut grpc = self.grpc().await?;
            let codec = Dynamic { answer: method.output() };
            Ok::<_, Failure>(grpc.server_streaming(Request::new(message), path, codec).await?.into_inner())
        };
        let stream = self.patience.wait(None, answer).await?;
        Ok(Watch { stream, patience: self.patience })
    }

    /// Whether a request is one of a method's.
    pub fn check(method: &str, request: Value) -> Result<(), Failure> {
        Self::prepare(method, request).map(drop)
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Failure> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX);
        grpc.ready().await.map_err(|_| Failure::unreached("the connection to the server was lost"))?;
        Ok(grpc)
    }

    fn prepare(name: &str, request: Value) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
        let (service, method) = name.split_once('/').unwrap_or((name, ""));
        let full_name =
            if service.contains('.') { service.to_owned() } else { format!("tenantry.v1.{service}") };
        let method = contract::pool()
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
            if !CertificateDer::pem_slice_iter(&pem).any(|certificate| certificate.is_ok()) {
                return Err(Failure::usage(format!(
                    "--ca-file {} holds no certificate in PEM",
                    file.display()
                )));
            }
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
    patience: Patience,
}

impl Watch {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        self.patience.wait(None, self.stream.message()).await?.as_ref().map(to_json).transpose()
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
