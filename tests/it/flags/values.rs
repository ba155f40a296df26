//! Values on their way in and out: numbers that not every wire holds.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use tenantry::proto::v1;

use super::{apply::tenantry, apply::text, with_flag};
use crate::support::fields;

fn number(number: f64) -> prost_types::Value {
    prost_types::Value { kind: Some(Kind::NumberValue(number)) }
}

fn whole(flag_key: &str, value: f64) -> v1::Flag {
    v1::Flag {
        flag_key: flag_key.into(),
        r#type: v1::FlagType::Integer.into(),
        variants: BTreeMap::from([("a".to_owned(), number(value)), ("b".to_owned(), number(1.0))]),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_whole_number_that_the_wire_would_round_is_refused_with_its_variant() {
    let mut replica = with_flag().await;
    let create = |flag| v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    // What was 2^53 + 1 arrives as 2^53.
    for rounded in [9_007_199_254_740_992.0, -9_007_199_254_740_992.0, 1e18] {
        let error = replica.flags.create_flag(create(whole("big", rounded))).await.unwrap_err();
        assert_eq!(fields(&error), ["flag.variants[a]"], "{error:?}");
    }
    let largest = whole("big", 9_007_199_254_740_991.0);
    replica.flags.create_flag(create(largest)).await.unwrap();
    let update = v1::UpdateFlagRequest {
        flag: Some(whole("big", 9_007_199_254_740_992.0)),
        update_mask: Some(prost_types::FieldMask { paths: vec!["variants".into()] }),
        ..Default::default()
    };
    assert_eq!(fields(&replica.flags.update_flag(update).await.unwrap_err()), ["flag.variants[a]"]);
    let apply = v1::ApplyFlagsRequest { flags: vec![whole("x", 1e17)], ..Default::default() };
    assert_eq!(fields(&replica.flags.apply_flags(apply).await.unwrap_err()), ["flags[0].variants[a]"]);
    // As JSON it is rounded by whoever reads it, which is the server.
    let digits = ["flag", "create", "json", "--type", "integer", "--variant", "a=9007199254740993"];
    let refused = tenantry(&replica, &digits).await;
    assert!(!refused.status.success() && text(&refused).contains("variants[a]"), "{}", text(&refused));
    replica.stop().await;
}
