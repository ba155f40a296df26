//! `connectrpc.conformance.v1.ConformanceService`, as its contract describes it: answers what its request asks for, and
//! tells what it saw. Written below tonic, so that it can set headers and trailers as it likes, and with messages as
//! JSON, since the suite's contract is compiled when the test runs.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};
use tenantry::proto::google::rpc;
use tokio::sync::mpsc;
use tonic::{Status, body::Body};
use tower::Service;

const PACKAGE: &str = "connectrpc.conformance.v1";

#[derive(Clone)]
pub(super) struct Conformance {
    pool: DescriptorPool,
}

impl Conformance {
    pub(super) fn new(pool: DescriptorPool) -> Self {
        Self { pool }
    }
}

impl Service<Request<Body>> for Conformance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = self.pool.clone();
        Box::pin(async move { Ok(answer(pool, request).await.unwrap_or_else(Status::into_http)) })
    }
}

/// A call under way.
struct Call {
    pool: DescriptorPool,
    input: MessageDescriptor,
    output: MessageDescriptor,
    body: Body,
    buffer: BytesMut,
    /// What was seen of the request beside its messages.
    info: Value,
}

async fn answer(pool: DescriptorPool, request: Request<Body>) -> Result<Response<Body>, Status> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    if method == "Unimplemented" {
        return Err(Status::unimplemented(""));
    }
    let service = pool.get_service_by_name(&format!("{PACKAGE}.ConformanceService")).unwrap();
    let about = service.methods().find(|about| about.name() == method).ok_or(Status::unimplemented(""))?;
    let info = info(&request);
    let (input, output) = (about.input(), about.output());
    let mut call = Call { pool, input, output, body: request.into_body(), buffer: BytesMut::new(), info };
    let first = call.next().await?;
    let opening = first.clone().unwrap_or_default();
    let definition = opening["responseDefinition"].clone();
    if method == "BidiStream" && opening["fullDuplex"] == true {
        return Ok(call.stream(definition, first, true));
    }
    let mut requests: Vec<Value> = first.into_iter().collect();
    // Also where one is asked for: a second one is a fault that shows only to those who read on.
    while let Some(next) = call.next().await? {
        requests.push(next);
    }
    call.info["requests"] = requests.iter().map(|request| call.any(request)).collect();
    if about.is_server_streaming() {
        return Ok(call.stream(definition, None, false));
    }
    Ok(call.unary(&definition).await)
}

fn info<B>(request: &Request<B>) -> Value {
    let mut headers = Vec::new();
    for name in request.headers().keys() {
        let values: Vec<_> =
            request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        headers.push(json!({ "name": name.as_str(), "value": values }));
    }
    let mut info = json!({ "requestHeaders": headers });
    if let Some(timeout) = timeout(request.headers()) {
        info["timeoutMs"] = timeout.to_string().into();
    }
    if let Some(query) = request.uri().query() {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> =
            pairs.map(|(name, value)| json!({ "name": name, "value": [decoded(value)] })).collect();
        info["connectGetInfo"] = json!({ "queryParams": pairs });
    }
    info
}

fn decoded(value: &str) -> String {
    percent_encoding::percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn timeout(headers: &HeaderMap) -> Option<u64> {
    if let Some(ms) = headers.get("connect-timeout-ms") {
        return ms.to_str().ok()?.parse().ok();
    }
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at(text.len() - 1);
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => number * 3_600_000,
        "M" => number * 60_000,
        "S" => number * 1_000,
        "m" => number,
        "u" => number / 1_000,
        _ => number / 1_000_000,
    })
}

impl Call {
    /// The next request; an empty one is an object.
    async fn next(&mut self) -> Result<Option<Value>, Status> {
        loop {
            if let Some(length) = self.buffer.get(1..5) {
                let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    let message = self.buffer.split_to(length).freeze();
                    let message = DynamicMessage::decode(self.input.clone(), message)
                        .map_err(|_| Status::internal("undecodable"))?;
                    let options = SerializeOptions::new().use_enum_numbers(true);
                    let value = message.serialize_with_options(serde_json::value::Serializer, &options);
                    return Ok(Some(value.unwrap()));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.put(data);
                    }
                }
            }
        }
    }

    fn any(&self, request: &Value) -> Value {
        let mut any = request.clone();
        any["@type"] = format!("type.googleapis.com/{}", self.input.full_name()).into();
        any
    }

    fn payload(&self, data: &Value, info: Option<&Value>) -> Bytes {
        let mut payload = json!({});
        if !data.is_null() {
            payload["data"] = data.clone();
        }
        if let Some(info) = info {
            payload["requestInfo"] = info.clone();
        }
        let message =
            DynamicMessage::deserialize(self.output.clone(), json!({ "payload": payload })).unwrap();
        let bytes = message.encode_to_vec();
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(bytes.len()).unwrap());
        framed.put_slice(&bytes);
        framed.freeze()
    }

    /// The trailers of a call that ends so; an error that comes first tells what was seen.
    fn end(&self, definition: &Value, error: Option<&Value>, is_first: bool) -> HeaderMap {
        let mut trailers = headers(&definition["responseTrailers"]);
        let Some(error) = error.filter(|error| !error.is_null()) else {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            return trailers;
        };
        let mut error = error.clone();
        if is_first {
            let mut info = self.info.clone();
            info["@type"] = format!("type.googleapis.com/{PACKAGE}.ConformancePayload.RequestInfo").into();
            let mut details = error["details"].as_array().cloned().unwrap_or_default();
            details.push(info);
            error["details"] = details.into();
        }
        let about = self.pool.get_message_by_name(&format!("{PACKAGE}.Error")).unwrap();
        let message = DynamicMessage::deserialize(about, error).unwrap();
        let code = message.get_field_by_name("code").unwrap().as_enum_number().unwrap();
        let sentence = message.get_field_by_name("message").unwrap().as_str().unwrap().to_owned();
        let details = message.get_field_by_name("details").unwrap();
        let details = details.as_list().unwrap().iter().map(|any| {
            prost_types::Any::decode(any.as_message().unwrap().encode_to_vec().as_slice()).unwrap()
        });
        let status = rpc::Status { code, message: sentence.clone(), details: details.collect() };
        let status = Status::with_details(code.into(), sentence, status.encode_to_vec().into());
        status.add_header(&mut trailers).unwrap();
        // Without any, the edge would take the error for one of a library and put its own words in its place.
        if !trailers.contains_key("grpc-status-details-bin") {
            trailers.insert("grpc-status-details-bin", STANDARD.encode([8, 2]).parse().unwrap());
        }
        trailers
    }

    async fn unary(self, definition: &Value) -> Response<Body> {
        pause(definition).await;
        let error = definition.get("error");
        let mut frames = Vec::new();
        if error.is_none() {
            frames.push(Ok::<_, Status>(Frame::data(
                self.payload(&definition["responseData"], Some(&self.info)),
            )));
        }
        frames.push(Ok(Frame::trailers(self.end(definition, error, true))));
        response(definition, Body::new(StreamBody::new(tokio_stream::iter(frames))))
    }

    /// Sends what was asked for: by itself, or each as the answer to a request.
    fn stream(mut self, definition: Value, first: Option<Value>, full_duplex: bool) -> Response<Body> {
        let (send, frames) = mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        let head = definition.clone();
        tokio::spawn(async move {
            let answers = definition["responseData"].as_array().cloned().unwrap_or_default();
            let mut next = first;
            let mut count = 0;
            for data in &answers {
                if full_duplex {
                    let Some(request) = next.take() else { break };
                    self.info["requests"] = json!([self.any(&request)]);
                }
                let info = if full_duplex && count > 0 {
                    Some(json!({ "requests": self.info["requests"] }))
                } else {
                    (count == 0).then(|| self.info.clone())
                };
                pause(&definition).await;
                if send.send(Ok(Frame::data(self.payload(data, info.as_ref())))).await.is_err() {
                    return;
                }
                count += 1;
                if full_duplex {
                    next = match self.next().await {
                        Ok(next) => next,
                        Err(status) => return drop(send.send(Err(status)).await),
                    };
                }
            }
            if let Some(request) = next.filter(|_| full_duplex && count == 0) {
                self.info["requests"] = json!([self.any(&request)]);
            }
            let end = self.end(&definition, definition.get("error"), count == 0);
            let _ = send.send(Ok(Frame::trailers(end))).await;
        });
        let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
        response(&head, Body::new(StreamBody::new(frames)))
    }
}

async fn pause(definition: &Value) {
    let ms = definition["responseDelayMs"].as_u64().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn headers(list: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for header in list.as_array().into_iter().flatten() {
        let name: HeaderName = header["name"].as_str().unwrap().parse().unwrap();
        for value in header["value"].as_array().into_iter().flatten() {
            headers.append(name.clone(), value.as_str().unwrap().parse().unwrap());
        }
    }
    headers
}

fn response(definition: &Value, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers(&definition["responseHeaders"]);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
