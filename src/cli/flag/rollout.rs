//! Rollouts on the command line: `on=10,off=90`, and later shares as `TIME on=50,off=50`.

use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::number::time;

/// A rollout as the API has it.
pub(super) fn rollout(now: &str, later: &[String], bucket_by: Option<&str>) -> Result<Value, Failure> {
    let steps = later.iter().map(|step| {
        let (start, shares) = step.trim().split_once(' ').ok_or_else(|| {
            Failure::usage(format!("--then {step} must have the form \"TIME on=50,off=50\""))
        })?;
        let start = time(start).map_err(|why| Failure::usage(format!("--then {step}: {start} {why}")))?;
        Ok(json!({ "startTime": start, "weights": weights(shares)? }))
    });
    let mut rollout = Map::new();
    rollout.insert("weights".to_owned(), weights(now)?);
    rollout.insert("steps".to_owned(), steps.collect::<Result<Vec<_>, Failure>>()?.into());
    if let Some(attribute) = bucket_by {
        rollout.insert("bucketBy".to_owned(), attribute.into());
    }
    Ok(rollout.into())
}

fn weights(text: &str) -> Result<Value, Failure> {
    let weight = |pair: &str| {
        let wrong = || Failure::usage(format!("{pair} must have the form VARIANT=WEIGHT, for example on=10"));
        let (variant, weight) = pair.split_once('=').ok_or_else(wrong)?;
        let weight: u32 = weight.trim().parse().map_err(|_| wrong())?;
        Ok(json!({ "variant": variant.trim(), "weight": weight }))
    };
    Ok(text.split(',').map(weight).collect::<Result<Vec<_>, Failure>>()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_now_and_later_are_read() {
        let later = ["2026-12-01T00:00:00Z on=50,off=50".to_owned()];
        let read = rollout("on=10,off=90", &later, Some("targetingKey")).unwrap();
        assert_eq!(read["weights"][0], json!({"variant": "on", "weight": 10}));
        assert_eq!(read["steps"][0]["startTime"], "2026-12-01T00:00:00Z");
        assert_eq!(read["steps"][0]["weights"][1], json!({"variant": "off", "weight": 50}));
        assert_eq!(read["bucketBy"], "targetingKey");
    }

    #[test]
    fn what_is_no_share_is_refused_by_name() {
        for bad in ["on", "on=x", "on=-1", ""] {
            assert!(rollout(bad, &[], None).is_err(), "{bad}");
        }
        assert!(rollout("on=1", &["tomorrow".to_owned()], None).is_err());
    }
}
