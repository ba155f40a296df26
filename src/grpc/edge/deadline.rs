//! `grpc-timeout`, `connect-timeout-ms` and the server's own bound.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::status::{BAD_CONNECT_TIMEOUT, BAD_TIMEOUT, Refusal};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const CONNECT_TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
/// A client may write down eleven thousand years; timers are not made for that.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// When the call ends, finished or not: a request extension, so that a handler can bound what it starts. A stream
/// without a deadline has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Time left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// The sooner of what the client asks for, in the words of its protocol, and what the server allows; `None` is for
/// streams that nobody bounded.
pub(super) fn allowed(
    headers: &HeaderMap,
    is_connect: bool,
    bound: Option<Duration>,
) -> Result<Option<Duration>, Refusal> {
    let (name, parse, refusal) = if is_connect {
        (CONNECT_TIMEOUT, parse_ms as fn(&str) -> Option<Duration>, BAD_CONNECT_TIMEOUT)
    } else {
        (GRPC_TIMEOUT, parse as fn(&str) -> Option<Duration>, BAD_TIMEOUT)
    };
    let Some(value) = headers.get(name) else { return Ok(bound) };
    let asked = value.to_str().ok().and_then(parse).ok_or(refusal)?.min(LONGEST);
    Ok(Some(bound.map_or(asked, |bound| bound.min(asked))))
}

/// Connect's form: at most ten digits, milliseconds.
fn parse_ms(text: &str) -> Option<Duration> {
    let is_sane = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_sane.then(|| text.parse().ok().map(Duration::from_millis)).flatten()
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed_with(timeout: &str, bound: Option<Duration>) -> Result<Option<Duration>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, timeout.parse().unwrap());
        allowed(&headers, false, bound)
    }

    #[test]
    fn the_sooner_of_client_and_server_wins() {
        let bound = Some(Duration::from_secs(10));
        assert_eq!(allowed(&HeaderMap::new(), false, bound), Ok(bound));
        assert_eq!(allowed_with("20S", bound), Ok(bound));
        assert_eq!(allowed_with("250m", bound), Ok(Some(Duration::from_millis(250))));
        assert_eq!(allowed_with("99999999H", None), Ok(Some(LONGEST)));
        assert_eq!(allowed(&HeaderMap::new(), true, None), Ok(None));
    }

    #[test]
    fn a_malformed_timeout_is_refused_not_ignored() {
        for text in ["", "S", "5", "123456789S", "-1S", "+1S", "1.5S", "1s", "1 S", "1é"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(allowed_with("soon", None), Err(BAD_TIMEOUT));
    }

    #[test]
    fn connect_counts_milliseconds() {
        assert_eq!(parse_ms("250"), Some(Duration::from_millis(250)));
        assert_eq!(parse_ms("9999999999"), Some(Duration::from_millis(9_999_999_999)));
        for text in ["", "-1", "+1", "1.5", "1s", "12345678901", "١"] {
            assert_eq!(parse_ms(text), None, "{text:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONNECT_TIMEOUT, "soon".parse().unwrap());
        assert_eq!(allowed(&headers, true, None), Err(BAD_CONNECT_TIMEOUT));
        assert_eq!(allowed(&headers, false, None), Ok(None), "another protocol's header means nothing");
    }
}
