//! Whatever is wrong with a request, the answer is a code that fits, a reason, and words of ours.

use tenantry::grpc::edge::Limits;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    served::{Served, few_threads},
    wire::{Answer, GET, call, framed, gzipped, of_tenant},
};

/// Words that would give away what is below.
const LIBRARY_WORDS: &[&str] = &[
    "prost",
    "decode",
    "Protobuf message:",
    "tonic",
    "wire type",
    "varint",
    "src/",
    "secret",
    "inflate",
    "EOF",
];

fn assert_ours(case: &str, answer: &Answer, code: Code, reason: &str) {
    let status = answer.status();
    assert_eq!(status.code(), code, "{case}: {status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{case}: no ErrorInfo"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "tenantry"), "{case}");
    for word in LIBRARY_WORDS {
        assert!(!status.message().contains(word), "{case}: {}", status.message());
    }
    assert!(status.message().ends_with('.'), "{case}: {}", status.message());
    if code == Code::InvalidArgument {
        assert!(status.get_details_bad_request().is_some(), "{case}: no BadRequest");
    }
    let id = answer.trailers.get("x-request-id").or_else(|| answer.headers.get("x-request-id"));
    assert!(id.is_some(), "{case}: no request id");
}

/// Name, headers, body; code, reason.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, Code, &'a str);

#[tokio::test]
async fn a_faulty_body_is_named_for_what_it_is() {
    let limits = Limits { message_bytes_max: 64 << 10, ..few_threads() };
    let served = Served::with(limits).await;
    let gzip = &[("grpc-encoding", "gzip")][..];
    let brotli = &[("grpc-encoding", "br")][..];
    let two = [of_tenant("a"), of_tenant("b")].concat();
    let deep = framed(0, &[0x0b; 10_000]);
    let big = framed(0, &vec![0; 70_000]);
    let bomb = framed(1, &gzipped(&vec![0; 1 << 20]));
    let cases: Vec<Case> = vec![
        (
            "random bytes",
            &[],
            framed(0, b"\xff\xff\xff\xff\xff\xff"),
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
        ),
        ("invalid UTF-8", &[], framed(0, b"\x0a\x02\xc3\x28"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("wrong wire type", &[], framed(0, b"\x08\x01"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("a field cut short", &[], framed(0, b"\x0a\x09ab"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("nested groups", &[], deep, Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("a message cut short", &[], b"\0\0\0\0\x09ab".to_vec(), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("a frame cut short", &[], b"\0\0".to_vec(), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("an unknown flag", &[], framed(7, b""), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("corrupt gzip", gzip, framed(1, b"no gzip"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("no message", &[], Vec::new(), Code::Unimplemented, "MESSAGE_COUNT"),
        ("two messages", &[], two, Code::Unimplemented, "MESSAGE_COUNT"),
        ("a large message", &[], big, Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        (
            "a large promise",
            &[],
            b"\0\xff\xff\xff\xff".to_vec(),
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
        ),
        ("a gzip bomb", gzip, bomb, Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        ("unknown compression", brotli, of_tenant("a"), Code::Unimplemented, "COMPRESSION_UNSUPPORTED"),
        ("undeclared compression", &[], framed(1, b""), Code::Internal, "COMPRESSION_UNDECLARED"),
    ];
    for (case, headers, body, code, reason) in cases {
        assert_ours(case, &call(served.address, GET, headers, body).await, code, reason);
    }
}

#[tokio::test]
async fn a_compressed_message_that_fits_is_read() {
    let served = Served::usual().await;
    let message = gzipped(b"\x0a\x04acme");
    let answer = call(served.address, GET, &[("grpc-encoding", "gzip")], framed(1, &message)).await;
    assert_eq!(answer.code(), Code::Ok);
    assert_eq!(answer.body, of_tenant("acme"));
}

#[tokio::test]
async fn an_unknown_method_or_service_is_unimplemented() {
    let served = Served::usual().await;
    for path in ["/tenantry.v1.TenantHealth/Nothing", "/nobody.v1.Nobody/Nothing", "/", "/x"] {
        let answer = call(served.address, path, &[], of_tenant("a")).await;
        assert_ours(path, &answer, Code::Unimplemented, "METHOD_UNKNOWN");
    }
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let served = Served::usual().await;
    for timeout in ["soon", "1", "123456789S", "-1S", "1s"] {
        let answer = call(served.address, GET, &[("grpc-timeout", timeout)], of_tenant("a")).await;
        assert_ours(timeout, &answer, Code::InvalidArgument, "INVALID_TIMEOUT");
    }
}

#[tokio::test]
async fn a_handlers_error_passes_if_it_is_ours_and_loses_its_text_if_not() {
    let served = Served::usual().await;
    let ours = call(served.address, GET, &[], of_tenant("ours")).await;
    assert_ours("ours", &ours, Code::NotFound, "TENANT_NOT_FOUND");
    assert_eq!(ours.status().message(), "No such tenant.");
    let bare = call(served.address, GET, &[], of_tenant("bare")).await;
    assert_ours("bare", &bare, Code::FailedPrecondition, "FAILED_PRECONDITION");
}

#[tokio::test]
async fn a_panic_is_internal_without_its_text_and_hurts_nobody_else() {
    let served = Served::usual().await;
    let client = super::wire::connect(served.address).await;
    let send = |tenant| super::wire::send(&client, super::wire::request(GET, &[]), of_tenant(tenant));
    assert_ours("panic", &send("panic").await.unwrap(), Code::Internal, "INTERNAL");
    assert_eq!(send("acme").await.unwrap().code(), Code::Ok);
}
