//! Evaluations, written straight into the reply.
//!
//! A platform asks for all flags of a tenant with every page it shows. Made of messages first, each answer would take
//! half a dozen allocations and two passes; here its bytes are put where they go. `answer::encode_evaluation` says the
//! same in messages, and a test holds them together.

use bytes::{BufMut as _, Bytes};
use prost::Message;

use super::flag::answer;
use super::{timestamp, value};
use crate::domain::flag::{ErrorCode, Evaluation, Value};
use crate::grpc::frame;

/// Bytes set aside for each answer: a usual one takes 40 to 80.
const USUAL_BYTES: usize = 64;

/// The wire types of fields, as the protobuf encoding numbers them.
const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// The answer for one flag, as it goes out.
pub(in crate::grpc) fn one(key: &str, evaluation: &Evaluation<'_>) -> Bytes {
    let mut reply = frame::begin(USUAL_BYTES);
    put_evaluation(key, evaluation, &mut reply);
    frame::finish(reply)
}

/// The answers for several flags.
pub(in crate::grpc) struct Answers {
    reply: Vec<u8>,
    answer: Vec<u8>,
}

impl Answers {
    /// None yet; `count` are to come.
    pub(in crate::grpc) fn new(count: usize) -> Self {
        Self { reply: frame::begin(count * USUAL_BYTES), answer: Vec::with_capacity(2 * USUAL_BYTES) }
    }

    /// Adds the answer for a flag.
    pub(in crate::grpc) fn flag(&mut self, key: &str, evaluation: &Evaluation<'_>) {
        self.answer.clear();
        put_evaluation(key, evaluation, &mut self.answer);
        put_bytes(1, &self.answer, &mut self.reply);
    }

    /// Adds a word for people.
    pub(in crate::grpc) fn warning(&mut self, text: &str) {
        put_bytes(2, text.as_bytes(), &mut self.reply);
    }

    /// All of them, as they go out.
    pub(in crate::grpc) fn finish(self) -> Bytes {
        frame::finish(self.reply)
    }
}

/// The fields of `EvaluateFlagResponse`. As always in proto3, what is empty or 0 is left out.
fn put_evaluation(key: &str, evaluation: &Evaluation<'_>, out: &mut Vec<u8>) {
    let Evaluation { value, variant, reason, layer, rule, expire_time, error, revision } = evaluation;
    put_text(1, key, out);
    match value {
        // Nearly all flags: a `Value` of one field, 4, which is said also where it is false.
        Some(Value::Boolean(is_on)) => put_bytes(2, &[4 << 3 | VARINT, u8::from(*is_on)], out),
        Some(other) => put_bytes(2, &value::encode(other.to_json()).encode_to_vec(), out),
        None => {}
    }
    put_text(3, variant.map_or("", |name| name.as_str()), out);
    put_text(4, reason.as_str(), out);
    put_number(5, i64::from(answer::encode_layer(*layer) as i32), out);
    put_text(6, error.map_or("", ErrorCode::as_str), out);
    put_number(7, revision.as_i64(), out);
    put_text(8, rule.unwrap_or_default(), out);
    if let Some(time) = expire_time {
        put_bytes(9, &timestamp(*time).encode_to_vec(), out);
    }
}

fn put_text(field: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        put_bytes(field, text.as_bytes(), out);
    }
}

fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u8(field << 3 | BYTES);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_number(field: u8, number: i64, out: &mut Vec<u8>) {
    if number != 0 {
        out.put_u8(field << 3 | VARINT);
        put_varint(number.cast_unsigned(), out);
    }
}

/// Seven bits a byte, the lowest first; the upper bit says that more follow.
fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::flag::{Layer, Reason};
    use crate::domain::ids::{Revision, VariantName};
    use crate::grpc::frame::PREFIX;
    use crate::proto::v1;

    const ENDS: Timestamp = Timestamp::constant(1_800_000_000, 5_000);

    fn values() -> Vec<Option<Value>> {
        let object = serde_json::json!({ "a": [1, null, { "b": "c" }], "d": -2.5 });
        vec![
            None,
            Some(Value::Boolean(true)),
            Some(Value::Boolean(false)),
            Some(Value::String("".into())),
            Some(Value::String("x".repeat(300).into())),
            Some(Value::Integer(-1)),
            Some(Value::Double(0.1)),
            Some(Value::Object(std::sync::Arc::new(object.as_object().unwrap().clone()))),
        ]
    }

    #[test]
    fn what_is_written_straight_is_what_messages_would_be() {
        let name = VariantName::parse("on").unwrap();
        let long = "k".repeat(128);
        let (mut answers, mut messages) = (Answers::new(3), v1::EvaluateFlagsResponse::default());
        for value in &values() {
            for (key, variant, revision) in
                [("search", Some(&name), 1), ("", None, 0), (long.as_str(), Some(&name), u64::MAX >> 1)]
            {
                for (reason, layer, rule, expire_time, error) in [
                    (Reason::Static, Layer::GlobalDefault, None, None, None),
                    (Reason::TargetingMatch, Layer::TenantOverride, Some("eu-first"), Some(ENDS), None),
                    (Reason::Disabled, Layer::Disabled, None, Some(Timestamp::UNIX_EPOCH), None),
                    (Reason::Error, Layer::UnknownFlag, None, None, Some(ErrorCode::FlagNotFound)),
                ] {
                    let evaluation = Evaluation {
                        value: value.as_ref(),
                        variant,
                        reason,
                        layer,
                        rule,
                        expire_time,
                        error,
                        revision: Revision(revision),
                    };
                    let message = answer::encode_evaluation(key, &evaluation);
                    assert_eq!(one(key, &evaluation)[PREFIX..], message.encode_to_vec(), "{evaluation:?}");
                    answers.flag(key, &evaluation);
                    messages.flags.push(message);
                }
            }
        }
        answers.warning("there is no flag \"x\"");
        messages.warnings.push("there is no flag \"x\"".to_owned());
        let reply = answers.finish();
        assert_eq!(reply[PREFIX..], messages.encode_to_vec());
        assert_eq!(frame::unframed::<v1::EvaluateFlagsResponse>(&reply).unwrap(), messages);
    }
}
