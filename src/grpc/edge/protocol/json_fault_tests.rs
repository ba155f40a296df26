use prost_reflect::{DescriptorPool, MessageDescriptor};
use tonic_types::StatusExt as _;

use super::super::json::to_proto;

fn descriptor(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
    let found = pool.get_message_by_name(name);
    found.or_else(|| DescriptorPool::global().get_message_by_name(name)).unwrap()
}

/// The field at fault, and the sentence behind the message's name.
fn said(message: &str, text: &str) -> (String, String) {
    let status = to_proto(&descriptor(message), text.as_bytes()).unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}");
    let violation = status.get_details_bad_request().unwrap().field_violations.remove(0);
    assert_eq!(violation.description, status.message());
    let sentence = status.message().strip_prefix(&format!("The request is not valid JSON of {message}: "));
    (violation.field, sentence.unwrap().to_owned())
}

#[test]
fn whoever_gives_what_a_field_does_not_take_is_told_what_it_takes() {
    for (message, text, field, why) in [
        (
            "CreateFlagRequest",
            r#"{"flag":{"flagKey":"m1","type":"BOOLEAN"}}"#,
            "flag.type",
            "must be one of FLAG_TYPE_BOOLEAN, FLAG_TYPE_STRING, FLAG_TYPE_INTEGER, ",
        ),
        (
            "UpdateFlagRequest",
            r#"{"flag":{"flagKey":"a"},"updateMask":"default_variant"}"#,
            "updateMask",
            r#"must be a text with names of fields in lowerCamelCase and commas between, such as "description,defaultVariant""#,
        ),
        ("UpdateFlagRequest", r#"{"updateMask":{"paths":["x"]}}"#, "updateMask", "must be a text with names"),
        (
            "CreateFlagRequest",
            r#"{"flag":{"priority":"high"}}"#,
            "flag.priority",
            "must be a whole number from -2147483648 to 2147483647",
        ),
        (
            "CreateFlagRequest",
            r#"{"flag":{"rules":[{},{"logic":{"var":"a"}}]}}"#,
            "flag.rules[1].logic",
            r#"must be text, in quotes; JSON that belongs there is written as a text, such as "{\"var\":\"a\"}""#,
        ),
        (
            "UpdateFlagRequest",
            r#"{"validateOnly":1}"#,
            "validateOnly",
            "must be true or false, without quotes",
        ),
        ("CreateFlagRequest", r#"{"flag":[]}"#, "flag", "must be an object"),
        ("CreateFlagRequest", r#"{"flag":{"rules":{}}}"#, "flag.rules", "must be a list"),
        ("CreateFlagRequest", r#"{"flag":{"labels":["a"]}}"#, "flag.labels", "must be an object"),
        ("CreateFlagRequest", r#"{"flag":{"labels":{"a":1}}}"#, "flag.labels.a", "must be text"),
        (
            "CreateFlagRequest",
            r#"{"flag":{"expireTime":"tomorrow"}}"#,
            "flag.expireTime",
            r#"must be a time, such as "2026-01-01T00:00:00Z""#,
        ),
        (
            "DeleteTenantRequest",
            r#"{"undeletePeriod":"3 days"}"#,
            "undeletePeriod",
            r#"must be seconds with an s behind them, such as "3.5s""#,
        ),
        ("EvaluateFlagRequest", r#"{"context":7}"#, "context", "must be an object"),
        ("GetTenantRequest", "[]", "request", "must be an object"),
    ] {
        let (named, sentence) = said(&format!("tenantry.v1.{message}"), text);
        assert_eq!(named, field, "{text}: {sentence}");
        let start = if field == "request" { String::new() } else { format!("\"{field}\" ") };
        assert!(sentence.starts_with(&(start + why)), "{text}: {sentence}");
        assert!(sentence.contains("; see line 1, column "), "{text}: {sentence}");
    }
    let bytes = said("google.protobuf.BytesValue", r#""*""#);
    assert!(bytes.1.starts_with("must be base64, in quotes"), "{bytes:?}");
}

#[test]
fn a_name_that_is_no_field_is_told_with_the_one_that_may_be_meant() {
    for (text, field, why) in [
        (r#"{"flag":{"foo":1}}"#, "flag.foo", "is no field of tenantry.v1.Flag; see"),
        (
            r#"{"flag":{"flagkey":"a"}}"#,
            "flag.flagkey",
            r#"is no field of tenantry.v1.Flag; "flagKey" is the nearest one; see"#,
        ),
        (
            r#"{"flg":{}}"#,
            "flg",
            r#"is no field of tenantry.v1.CreateFlagRequest; "flag" is the nearest one"#,
        ),
    ] {
        let (named, sentence) = said("tenantry.v1.CreateFlagRequest", text);
        assert_eq!(named, field);
        assert!(sentence.starts_with(&format!("\"{field}\" {why}")), "{text}: {sentence}");
    }
}

#[test]
fn only_one_of_several_ways_to_say_the_same_is_taken() {
    let (field, why) = said("tenantry.v1.Limit", r#"{"value":1,"unlimited":true}"#);
    assert_eq!(field, "request");
    assert!(why.starts_with("must have only one of value, unlimited; see"), "{why}");
}

/// A name that flagd's services ignore was blamed for whatever else was wrong.
#[test]
fn names_that_are_ignored_are_not_blamed() {
    let (field, why) = said("flagd.evaluation.v1.ResolveBooleanRequest", r#"{"other":1,"flagKey":2}"#);
    assert_eq!(field, "flagKey");
    assert!(why.starts_with("\"flagKey\" must be text"), "{why}");
}

#[test]
fn json_that_nests_too_deep_or_has_too_large_a_number_says_so() {
    let deep = format!(r#"{{"context":{{"a":{}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let (_, why) = said("tenantry.v1.EvaluateFlagRequest", &deep);
    assert_eq!(why, "it nests more than 127 deep at line 1, column 142.");
    let (_, why) = said("tenantry.v1.EvaluateFlagRequest", r#"{"context":{"a":1e999}}"#);
    assert_eq!(why, "a number is too large at line 1, column 21.");
}

#[test]
fn what_is_shown_of_a_request_is_short() {
    let name = "x".repeat(100_000);
    let (field, why) = said("tenantry.v1.GetTenantRequest", &format!(r#"{{"{name}":1}}"#));
    assert!(field.len() < 100 && why.len() < 300, "{field} {why}");
    let (_, why) = said("tenantry.v1.GetTenantRequest", &format!(r#"{{"tenantId":["{name}"]}}"#));
    assert!(why.len() < 300, "{why}");
}
