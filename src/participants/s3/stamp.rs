//! Requests that the store itself refuses after a moment.
//!
//! A signature in a request's headers is good for a quarter of an hour, and whatever kept the request may let it go
//! within that time. One in its query (as of a URL that is given away) says how long it is good. Both ends of that time
//! are fixed here before the request is made, so that no pause after that makes it longer. It is told by the store's own
//! clock, as its last answer showed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_runtime::auth::{HttpSignatureType, PayloadSigningOverride, SigV4OperationSigningConfig};
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_async::time::StaticTimeSource;

/// From when and how long a request is good.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    from: SystemTime,
    lasts: Duration,
}

impl Stamp {
    /// Signatures know whole seconds; less than one is none.
    pub(super) fn new(from: SystemTime, lasts: Duration) -> Option<Self> {
        let lasts = Duration::from_secs(lasts.as_secs());
        (!lasts.is_zero()).then_some(Self { from, lasts })
    }

    /// What has a request signed so. It is sent once: a second one that is answered would hide that the first was not, and may still
    /// arrive.
    pub(super) fn config(&self) -> Builder {
        Builder::new()
            .time_source(StaticTimeSource::new(self.from))
            .interceptor(self.clone())
            .retry_config(RetryConfig::disabled())
    }
}

impl Intercept for Stamp {
    fn name(&self) -> &'static str {
        "Stamp"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let known = config.load::<SigV4OperationSigningConfig>();
        let mut signing = known.cloned().ok_or("there is nothing to sign with")?;
        signing.signing_options.expires_in = Some(self.lasts);
        signing.signing_options.signature_type = HttpSignatureType::HttpRequestQueryParams;
        config.interceptor_state().store_put(signing);
        // As with every signature in a query: the body is held by its checksum, which is signed.
        config.interceptor_state().store_put(PayloadSigningOverride::unsigned_payload());
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Left out of such signatures, and some servers take a header of this kind only where it is signed.
        context.request_mut().headers_mut().remove("x-amz-user-agent");
        Ok(())
    }
}

/// What the store's clock shows, by the dates of its answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock {
    /// How many seconds it is ahead of ours.
    ahead: Arc<AtomicI64>,
}

impl ServerClock {
    /// The store's time at one of ours.
    pub(super) fn at(&self, ours: SystemTime) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let theirs = if ahead < 0 { ours.checked_sub(by) } else { ours.checked_add(by) };
        theirs.unwrap_or(ours)
    }

    fn saw(&self, date: &str, ours: SystemTime) {
        let Ok(theirs) = DateTime::from_str(date, DateTimeFormat::HttpDate) else { return };
        let Ok(since) = ours.duration_since(UNIX_EPOCH) else { return };
        let ahead = theirs.secs().saturating_sub(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        // A date has no parts of a second, and an answer takes its time: that much is no difference.
        self.ahead.store(if ahead.abs() < 2 { 0 } else { ahead }, Ordering::Relaxed);
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.saw(date, jiff::Timestamp::now().into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(number)
    }

    #[test]
    fn the_stores_clock_is_followed_where_it_is_really_another() {
        let clock = ServerClock::default();
        for (date, ours, at, theirs) in [
            ("Thu, 01 Jan 1970 00:10:00 GMT", 601, 700, 700),
            ("Thu, 01 Jan 1970 00:10:00 GMT", 500, 700, 800),
            ("Thu, 01 Jan 1970 00:10:00 GMT", 900, 901, 601),
            ("no date", 1, 901, 601),
        ] {
            clock.saw(date, second(ours));
            assert_eq!(clock.at(second(at)), second(theirs), "{date} at {ours}");
        }
    }

    #[test]
    fn a_stamp_never_lasts_longer_than_asked() {
        assert!(Stamp::new(second(1), Duration::from_millis(999)).is_none());
        let stamp = Stamp::new(second(1), Duration::from_millis(2_999)).unwrap();
        assert_eq!(stamp.lasts, Duration::from_secs(2));
    }
}
