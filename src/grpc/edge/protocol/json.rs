//! Messages as protobuf's JSON, by the contract's descriptors.
//!
//! Field names are taken in lowerCamelCase and as the contract has them; enums by name or number; 64-bit integers as
//! strings or numbers; of a field given twice the last counts, as in protobuf's own bytes. Fields and enum values that the
//! contract does not know are ignored, as Connect's and flagd's clients expect, but for our own services: there a name
//! that was mistyped would be a change that was not made. Answers leave out fields that are not set. Those that have their
//! default without being able to say whether they are set are left out of ours, and written for flagd's services, as
//! flagd's own server does: whoever asks by curl for a flag that is off reads `false` there.

use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Deserializer, Serializer};
use tonic::Status;

use super::{super::status::EMPTY_JSON, json_fault::explain};

/// The message as protobuf; a fault names the field, what it takes and the place in the text.
pub(super) fn to_proto(descriptor: &MessageDescriptor, text: &[u8]) -> Result<Vec<u8>, Status> {
    if text.is_empty() {
        return Err(EMPTY_JSON.status());
    }
    let is_ours = descriptor.parent_file().package_name() == "tenantry.v1";
    let options = DeserializeOptions::new().deny_unknown_fields(is_ours);
    let mut deserializer = Deserializer::from_slice(text);
    DynamicMessage::deserialize_with_options(descriptor.clone(), &mut deserializer, &options)
        .and_then(|message| deserializer.end().map(|()| message.encode_to_vec()))
        .map_err(|_fault| explain(descriptor, text, &options))
}

/// The message as JSON; `None` when the bytes are no such message, or hold what JSON cannot say.
pub(super) fn from_proto(descriptor: &MessageDescriptor, bytes: &[u8]) -> Option<Vec<u8>> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).ok()?;
    let mut text = Vec::with_capacity(bytes.len() * 2);
    let is_flagd = descriptor.parent_file().package_name().starts_with("flagd.");
    let options = SerializeOptions::new().skip_default_fields(!is_flagd);
    message.serialize_with_options(&mut Serializer::new(&mut text), &options).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use tonic_types::StatusExt as _;

    use super::*;

    fn descriptor(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
        pool.get_message_by_name(&format!("tenantry.v1.{name}")).unwrap()
    }

    fn round_trip(name: &str, text: &str) -> String {
        let descriptor = descriptor(name);
        let bytes = to_proto(&descriptor, text.as_bytes()).unwrap();
        String::from_utf8(from_proto(&descriptor, &bytes).unwrap()).unwrap()
    }

    #[test]
    fn names_and_values_are_read_in_every_form_that_protobuf_allows() {
        for text in [
            r#"{"tenantId":"a"}"#,
            r#"{"tenant_id":"a"}"#,
            "\n{ \"tenantId\" : \"\\u0061\" }\t",
            r#"{"tenantId":"b","tenant_id":"a"}"#,
        ] {
            assert_eq!(round_trip("GetTenantRequest", text), r#"{"tenantId":"a"}"#, "{text}");
        }
        for text in [r#"{"type":"FLAG_TYPE_BOOLEAN"}"#, r#"{"type":1}"#] {
            assert_eq!(round_trip("Flag", text), r#"{"type":"FLAG_TYPE_BOOLEAN"}"#, "{text}");
        }
        assert_eq!(round_trip("Tenant", r#"{"revision":"9007199254740993"}"#).matches('3').count(), 1);
    }

    #[test]
    fn names_that_the_contract_does_not_know_are_refused_by_us_and_ignored_for_others() {
        for (message, text, field) in [
            ("GetTenantRequest", r#"{"tenantId":"a","tier":"gold"}"#, "tier"),
            ("CreateFlagRequest", r#"{"flag":{"flagKey":"a","kind":"KILL_SWITCH"}}"#, "flag.kind"),
            ("CreateFlagRequest", r#"{"flag":{"flagKey":"a","state":"FLAG_STATE_DISABLD"}}"#, "flag.state"),
            (
                "BatchCreateTenantsRequest",
                r#"{"requests":[{"tenant":{"tenantId":"a","labels":{"b":"c"},"colour":1}}]}"#,
                "requests[0].tenant.colour",
            ),
        ] {
            let status = to_proto(&descriptor(message), text.as_bytes()).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}");
            let violation = &status.get_details_bad_request().unwrap().field_violations[0];
            assert_eq!(violation.field, field, "{text}: {}", status.message());
        }
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
        let foreign = pool.get_message_by_name("flagd.evaluation.v1.ResolveBooleanRequest").unwrap();
        assert!(to_proto(&foreign, br#"{"flagKey":"a","nobodyKnows":[{"x":1}]}"#).is_ok());
    }

    #[test]
    fn a_fault_names_the_field_and_the_place_and_no_library() {
        for (text, field, place) in [
            (r#"{"tenantId":5}"#, "tenantId", "line 1, column 13"),
            (r#"{"tenantId":"a"} x"#, "request", "line 1, column 18"),
            ("{\"tenantId\":\n \"a\",}", "request", "line 2, column 6"),
            ("[]", "request", "line 1"),
            ("NaN", "request", "line 1"),
        ] {
            let status = to_proto(&descriptor("GetTenantRequest"), text.as_bytes()).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}");
            assert!(status.message().contains(place), "{text}: {}", status.message());
            assert!(!status.message().contains("expected"), "{text}: {}", status.message());
            let violation = &status.get_details_bad_request().unwrap().field_violations[0];
            assert!(violation.field.starts_with(field) || field == "request", "{text}: {violation:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| {
            let text = format!(r#"{{"value":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
            to_proto(&descriptor("EvaluateFlagResponse"), text.as_bytes())
        };
        assert!(deep(20).is_ok());
        assert_eq!(deep(100_000).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn zeros_are_written_for_flagd_s_services_and_left_out_of_ours() {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
        let said = |name: &str, bytes: &[u8]| {
            let descriptor = pool.get_message_by_name(name).unwrap();
            String::from_utf8(from_proto(&descriptor, bytes).unwrap()).unwrap()
        };
        for (kind, zero) in [("Boolean", "false"), ("String", "\"\""), ("Float", "0.0"), ("Int", "\"0\"")] {
            let v1 = said(&format!("flagd.evaluation.v1.Resolve{kind}Response"), b"");
            assert_eq!(v1, format!(r#"{{"value":{zero},"reason":"","variant":""}}"#));
            // There both can say that they are not set.
            let v2 = said(&format!("flagd.evaluation.v2.Resolve{kind}Response"), b"");
            assert_eq!(v2, r#"{"reason":""}"#);
        }
        assert_eq!(said("flagd.evaluation.v1.AnyFlag", b""), r#"{"reason":"","variant":""}"#);
        assert_eq!(
            said("flagd.evaluation.v1.AnyFlag", b"\x18\0"),
            r#"{"reason":"","variant":"","boolValue":false}"#
        );
        assert_eq!(said("tenantry.v1.GetTenantRequest", b""), "{}");
    }

    #[test]
    fn a_number_that_json_cannot_say_is_no_message() {
        let descriptor = descriptor("Signals");
        assert!(from_proto(&descriptor, b"\xff").is_none());
    }
}
