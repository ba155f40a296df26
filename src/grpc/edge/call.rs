//! One call from its headers to its end: what is counted, logged and held open for it.

use std::{sync::Arc, time::Instant};

use tonic::Code;
use tracing::{Level, Span, debug, enabled, info};

use super::{
    admission::CallPlace,
    metrics::{Served, code_name},
    request_id::RequestId,
};

/// A call being served. Dropped without an end, it counts as cancelled: the client left.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) served: Arc<Served>,
    pub(super) span: Span,
    pub(super) request_id: RequestId,
    began: Instant,
    place: Option<CallPlace>,
    has_ended: bool,
}

impl Call {
    pub(super) fn begin(served: Arc<Served>, request_id: RequestId, span: Span) -> Self {
        Self { served, span, request_id, began: Instant::now(), place: None, has_ended: false }
    }

    pub(super) fn hold(&mut self, place: CallPlace) {
        self.place = Some(place);
    }

    /// The answer is made. A unary call's place is free from here: a client that does not read its answer must not
    /// keep others out.
    pub(super) fn answered(&mut self) {
        if !self.served.method.shape.answers_stream {
            self.place = None;
        }
    }

    /// Counts and logs the end; only the first one is one.
    pub(super) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.place = None;
        let took = self.began.elapsed();
        self.served.ended(code, took);
        // Entering the span costs more than all the rest, and there is mostly nothing to say.
        if code == Code::Ok && !enabled!(Level::DEBUG) {
            return;
        }
        let seconds = took.as_secs_f64();
        if code != Code::Ok {
            self.span.record("rpc.grpc.status_code", i32::from(code));
        }
        if is_servers_fault(code) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.span.in_scope(|| {
            let code = code_name(code);
            if code == "OK" { debug!(code, seconds, "call") } else { info!(code, seconds, "call") }
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// Of which a trace says that the server failed, by OpenTelemetry's conventions for gRPC servers; the others are the caller's.
const fn is_servers_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
