//! Bad input for every field of every request, by the contract's descriptors: a new field is covered by itself.

mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tenantry::domain::error::Reason;
use tenantry::proto::v1;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use values::{Case, Good};

use crate::support::{Replica, Setup, fields, reason};

/// Most a status and its details may take: headers beyond 8 KiB are dropped by proxies.
const STATUS_MAX: usize = 4 << 10;
/// Calls in flight.
const AT_ONCE: usize = 16;
/// Words that give away what is below, or that name a bug.
const LIBRARY_WORDS: &[&str] =
    &["prost", "tonic", "tokio", "postgres", "serde", "src/", "panicked", "SQL", "ERROR:", "invalid digit"];
/// Text that is looked up and never kept: not finding it is the answer.
const LOOKED_UP: &[&str] = &["EvaluateFlags.flag_keys"];

/// Messages as the bytes they are.
#[derive(Clone, Copy)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Calls a method with a body and reads the first answer, if one comes soon.
async fn call(channel: Channel, method: &MethodDescriptor, body: Bytes) -> Result<Option<Bytes>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    grpc.ready().await.unwrap();
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut answers =
        grpc.server_streaming(Request::new(body), path.parse().unwrap(), AsBytes).await?.into_inner();
    match tokio::time::timeout(Duration::from_millis(30), answers.message()).await {
        Ok(first) => first,
        // A watch with nothing to tell.
        Err(_) if method.is_server_streaming() => Ok(None),
        Err(_) => answers.message().await,
    }
}

/// The answer to the first item of a batch, as a call of its own would have had it.
fn first_item(answer: Option<Bytes>) -> Result<(), Status> {
    use v1::batch_create_tenants_response::result::Outcome;
    let batch = v1::BatchCreateTenantsResponse::decode(answer.unwrap_or_default()).unwrap();
    match batch.results.into_iter().next().and_then(|item| item.outcome) {
        Some(Outcome::Error(error)) => {
            let code = Code::from_i32(error.code);
            let details = error.encode_to_vec().into();
            Err(Status::with_details(code, error.message, details))
        }
        _ => Ok(()),
    }
}

fn methods() -> (Good, Vec<MethodDescriptor>) {
    let pool = DescriptorPool::decode(tenantry::proto::DESCRIPTOR_SET).unwrap();
    let behavior =
        pool.get_extension_by_name("google.api.field_behavior").expect("the mark is in the contract");
    let methods: Vec<_> = pool
        .services()
        .filter(|service| service.parent_file().package_name() == "tenantry.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() > 30, "the contract is read");
    (Good { text: HashMap::new(), behavior }, methods)
}

/// What is wrong with an answer to a bad request; nothing where it is as it must be.
fn fault(method: &MethodDescriptor, case: &Case, answer: &Result<(), Status>) -> Option<String> {
    let Err(status) = answer else {
        let looked_up = LOOKED_UP.contains(&format!("{}.{}", method.name(), case.path).as_str());
        return (case.must_refuse && !looked_up).then(|| "was taken".to_owned());
    };
    let bad = |what: &str| Some(format!("{what}: {:?} {:?}", status.code(), status.message()));
    if matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::Cancelled) {
        return bad("a bug shows");
    }
    if status.message().len() + status.details().len() > STATUS_MAX {
        return bad("too long");
    }
    if LIBRARY_WORDS.iter().any(|word| status.message().contains(word)) {
        return bad("names a library");
    }
    let Some(info) = status.get_details_error_info() else { return bad("no ErrorInfo") };
    let known = Reason::ALL.iter().any(|reason| reason.as_str() == info.reason);
    if !known && !matches!(info.reason.as_str(), "MALFORMED_REQUEST" | "TOO_MANY_ITEMS") {
        return bad("a reason that is not in the catalogue");
    }
    if status.code() == Code::InvalidArgument {
        let violations = status.get_details_bad_request().map(|request| request.field_violations);
        let violations = violations.unwrap_or_default();
        if violations.is_empty() || violations.iter().any(|one| one.description.is_empty()) {
            return bad("names no field");
        }
        if case.must_refuse && !violations.iter().any(|one| names(&one.field, &case.path)) {
            let named: Vec<_> = violations.iter().map(|one| one.field.as_str()).collect();
            return bad(&format!("blames {named:?}"));
        }
    } else if case.must_refuse && status.code() != Code::Aborted {
        return bad("is not refused as an invalid argument");
    }
    None
}

/// Whether a violation's field is the path, keys and places in lists aside.
fn names(field: &str, path: &str) -> bool {
    let mut bare = String::new();
    let mut inside = false;
    for letter in field.chars() {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            _ if !inside => bare.push(letter),
            _ => {}
        }
    }
    bare == path || bare.starts_with(&format!("{path}."))
}

/// A server with something of every kind to ask for.
async fn server() -> (Replica, HashMap<&'static str, String>) {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let flag = v1::Flag { flag_key: "search".into(), r#type: v1::FlagType::String.into(), ..flag_of_text() };
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    let suspend = v1::SuspendTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    let operation = replica.lifecycle.suspend_tenant(suspend).await.unwrap().into_inner();
    let request = v1::StartBulkOperationRequest {
        filter: "tenant_id = \"finance\"".into(),
        verb: v1::OperationVerb::Activate.into(),
        ..Default::default()
    };
    let bulk = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    let text = [
        ("tenant_id", "finance"),
        ("tenant_ids", "finance"),
        ("display_name", "Finance"),
        ("tier", "gold"),
        ("tier_id", "gold"),
        ("flag_key", "search"),
        ("flag_keys", "search"),
        ("email", "a@example.com"),
        ("operation_id", operation.operation_id.as_str()),
        ("variant", "a"),
        ("variants", "a"),
        ("segment_name", "eu"),
        ("filter", "tenant_id = \"finance\""),
        ("target", "cache"),
        ("bulk_operation_id", bulk.bulk_operation_id.as_str()),
        ("reason", "a test"),
        ("content", r#"{"flags": {"search": {"variants": {"a": "x"}}}}"#),
    ];
    (replica, text.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
}

fn flag_of_text() -> v1::Flag {
    let value =
        |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
    v1::Flag {
        variants: [("a".to_owned(), value("x")), ("b".to_owned(), value("y"))].into(),
        default_variant: "a".into(),
        ..Default::default()
    }
}

/// Every case, first only validated, so that no case changes what the next one meets, then for real.
fn both_ways(good: &Good, real: &DynamicMessage) -> Vec<Vec<Case>> {
    let mut for_real = good.spoil(real);
    let mut validated = real.clone();
    if validated.try_set_field_by_name("validate_only", prost_reflect::Value::Bool(true)).is_err() {
        return vec![for_real];
    }
    let mut cases = good.spoil(&validated);
    cases.retain(|case| case.path != "validate_only");
    for case in &mut for_real {
        // What another case has deleted meanwhile is not found, whatever else is wrong.
        case.must_refuse = false;
    }
    vec![cases, for_real]
}

/// Sends every case, some at once, and gathers what went wrong.
async fn send_all(
    replica: &Replica,
    method: &MethodDescriptor,
    cases: Vec<Case>,
) -> BTreeMap<String, Vec<String>> {
    let permits = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut calls = tokio::task::JoinSet::new();
    for case in cases {
        let (channel, method, permits) = (replica.channel.clone(), method.clone(), Arc::clone(&permits));
        calls.spawn(async move {
            let _permit = permits.acquire_owned().await.unwrap();
            let answer = call(channel, &method, case.message.encode_to_vec().into()).await;
            let answer = answer.and_then(|answer| {
                if method.name() == "BatchCreateTenants" { first_item(answer) } else { Ok(()) }
            });
            fault(&method, &case, &answer).map(|fault| (case.path, format!("{}: {fault}", case.what)))
        });
    }
    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(done) = calls.join_next().await {
        if let Some((path, fault)) = done.unwrap() {
            faults.entry(format!("{}.{path}", method.name())).or_default().push(fault);
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_any_field_shows_a_bug_and_text_with_a_nul_is_refused_by_name() {
    let (mut good, methods) = methods();
    let (mut replica, text) = server().await;
    good.text = text;
    let mut faults = BTreeMap::new();
    let mut sent = 0;
    let mut fields = BTreeSet::new();
    for method in &methods {
        for cases in both_ways(&good, &good.message(&method.input(), 0)) {
            sent += cases.len();
            fields.extend(cases.iter().map(|case| format!("{}.{}", method.name(), case.path)));
            faults.extend(send_all(&replica, method, cases).await);
        }
        assert_eq!(replica.get("finance").await.tenant_id, "finance", "it still answers");
    }
    let told: Vec<String> =
        faults.iter().map(|(path, what)| format!("{path}\n    {}", what.join("\n    "))).collect();
    assert!(told.is_empty(), "{} of {sent} cases:\n{}", told.len(), told.join("\n"));
    assert!(sent > 5_000 && fields.len() > 250, "{sent} cases of {} fields", fields.len());
    replica.stop().await;
}

/// Bytes that no client library would send as a message.
fn raw_bodies(good: &DynamicMessage) -> Vec<(String, Bytes)> {
    let bytes = good.encode_to_vec();
    let mut bodies = vec![
        ("invalid UTF-8".to_owned(), Bytes::from_static(b"\x0a\x02\xc3\x28")),
        ("a group that never ends".to_owned(), Bytes::from_static(b"\x0b")),
        ("tag zero".to_owned(), Bytes::from_static(b"\x00\x00")),
        ("an endless varint".to_owned(), Bytes::from(vec![0xff; 64])),
        ("a length beyond the end".to_owned(), Bytes::from_static(b"\x0a\xff\xff\xff\xff\x07")),
        ("nested 200 KB deep".to_owned(), Bytes::from(nested_bytes(1, 200_000))),
        ("nested groups".to_owned(), Bytes::from(vec![0x0b; 200_000])),
        ("only unknown fields".to_owned(), Bytes::from(b"\xf8\xff\xff\xff\x0f\x01".repeat(10_000))),
        ("zeros".to_owned(), Bytes::from(vec![0; 1_000])),
    ];
    for length in 0..bytes.len() {
        bodies.push((format!("cut at {length}"), Bytes::copy_from_slice(&bytes[..length])));
    }
    for field in 1..=8_u8 {
        for wire_type in 0..=7_u8 {
            let body = [field << 3 | wire_type, 1, 1, 1, 1, 1, 1, 1, 1];
            bodies.push((format!("field {field} as wire type {wire_type}"), Bytes::copy_from_slice(&body)));
        }
    }
    bodies
}

/// Field `field` in itself, again and again, `length` bytes in all.
fn nested_bytes(field: u8, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < length {
        let mut around = vec![field << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut around);
        // Built from the outside by reversal: prepending to a vector of this size is quadratic.
        around.reverse();
        bytes.extend(around);
    }
    bytes.reverse();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_sent_to_any_rpc_show_a_bug() {
    let (mut good, methods) = methods();
    let (mut replica, text) = server().await;
    good.text = text;
    let mut faults = Vec::new();
    for method in &methods {
        let message = good.message(&method.input(), 0);
        for (what, body) in raw_bodies(&message) {
            let answer = call(replica.channel.clone(), method, body).await.map(drop);
            let case = Case { path: String::new(), what, message: message.clone(), must_refuse: false };
            if let Some(fault) = fault(method, &case, &answer) {
                faults.push(format!("{}: {}: {fault}", method.name(), case.what));
            }
        }
        assert_eq!(replica.get("finance").await.tenant_id, "finance", "it still answers");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    replica.stop().await;
}

#[tokio::test]
async fn a_message_of_nothing_but_items_is_refused_before_it_is_decoded() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let mut calls = tonic::client::Grpc::new(replica.channel.clone());
    for (path, field) in [
        ("/tenantry.v1.TenantRegistry/BatchCreateTenants", "requests"),
        ("/tenantry.v1.FeatureFlags/ApplyFlags", "flags"),
    ] {
        // Two bytes an item: an empty message in field 1.
        let items = Bytes::from(b"\x0a\x00".repeat(450_000));
        calls.ready().await.unwrap();
        let error = calls.unary(Request::new(items), path.parse().unwrap(), AsBytes).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error).as_str()),
            (Code::InvalidArgument, "TOO_MANY_ITEMS"),
            "{path}"
        );
        assert_eq!(fields(&error), [field], "{path}");
        let name = path.rsplit('/').next().unwrap();
        let json = format!("{{\"{field}\":[{}{{}}]}}", "{},".repeat(300_000));
        let url = format!("http://{}{path}", replica.server.http);
        let answer = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(json)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{name}");
        assert!(answer.text().await.unwrap().contains("TOO_MANY_ITEMS"), "{name}");
    }
    replica.stop().await;
}
