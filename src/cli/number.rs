//! Numbers on the command line.

/// A number with a value; JSON, in which requests go out, has no others, and would make one that is left out of them.
pub(super) fn finite(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("must be a number, such as 0.999")
}

#[cfg(test)]
mod tests {
    use super::finite;

    #[test]
    fn what_json_cannot_hold_is_no_number() {
        assert_eq!((finite("0.999"), finite("1e3"), finite("-1")), (Ok(0.999), Ok(1_000.0), Ok(-1.0)));
        for text in ["nan", "NaN", "inf", "-infinity", "1e999", "", "a", "1,5"] {
            assert!(finite(text).is_err(), "{text}");
        }
    }
}
