//! How many items a message may have, judged by its bytes before anybody decodes it.
//!
//! An item of a list takes two bytes to send and, decoded, up to a kilobyte: without a bound a message of one mebibyte
//! becomes half a gigabyte, and refusing it afterwards is too late.

use std::collections::BTreeMap;

use prost::encoding::{WireType, decode_key, decode_varint};
use prost_reflect::{Kind, MessageDescriptor};

/// Most items of one list or map: as many as any rpc takes (the flags of `ApplyFlags`).
pub(super) const LIST_MAX: usize = 10_000;
/// Most items of all lists and maps of a message, at every depth.
pub(super) const ALL_MAX: usize = 50_000;
/// A shorter message cannot hold more than [`LIST_MAX`] items, at two bytes each, and is not looked into.
pub(super) const SUSPICIOUS_BYTES: usize = 2 * LIST_MAX;
/// Messages are decoded up to this depth only.
const DEPTH_MAX: usize = 100;

/// A message with more items than are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooMany {
    /// The list in which the bound was crossed, from the request on: `requests.tenant.contacts`.
    pub(super) field: String,
}

/// Counts the items of a message. What is no such message passes: whoever decodes it says what is wrong.
pub(super) fn count(descriptor: &MessageDescriptor, message: &[u8]) -> Result<(), TooMany> {
    if message.len() <= SUSPICIOUS_BYTES {
        return Ok(());
    }
    let mut left = ALL_MAX;
    count_within(descriptor, message, &mut left, 0)
}

fn count_within(
    descriptor: &MessageDescriptor,
    mut bytes: &[u8],
    left: &mut usize,
    depth: usize,
) -> Result<(), TooMany> {
    let mut counts = BTreeMap::<u32, usize>::new();
    while !bytes.is_empty() && depth < DEPTH_MAX {
        let Some((number, value)) = next_field(&mut bytes) else { return Ok(()) };
        let Some(field) = descriptor.get_field(number) else { continue };
        if field.is_list() || field.is_map() {
            let count = counts.entry(number).or_default();
            *count += 1;
            if *count > LIST_MAX || *left == 0 {
                return Err(TooMany { field: field.name().to_owned() });
            }
            *left -= 1;
        }
        if let (Kind::Message(inner), Some(value)) = (field.kind(), value) {
            count_within(&inner, value, left, depth + 1)
                .map_err(|too_many| TooMany { field: format!("{}.{}", field.name(), too_many.field) })?;
        }
    }
    Ok(())
}

/// The number of the next field and, where it has a length, its bytes. `None` where the rest is no protobuf.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let (number, wire_type) = decode_key(bytes).ok()?;
    let length = match wire_type {
        WireType::Varint => {
            decode_varint(bytes).ok()?;
            return Some((number, None));
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((number, (wire_type == WireType::LengthDelimited).then_some(value)))
}

/// Whether a JSON text has more items than are taken, judged by its commas: nothing that is taken has so many, in texts
/// or between items.
pub(super) fn has_too_many_commas(text: &[u8]) -> bool {
    text.len() > SUSPICIOUS_BYTES
        && text.iter().filter(|byte| **byte == b',').take(COMMAS_MAX + 1).count() > COMMAS_MAX
}

/// Each item has a comma of its own and, where it is a message, some between its fields.
const COMMAS_MAX: usize = 2 * ALL_MAX;

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::proto::v1;

    fn descriptor(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
        pool.get_message_by_name(&format!("tenantry.v1.{name}")).unwrap()
    }

    fn too_many(field: &str) -> Result<(), TooMany> {
        Err(TooMany { field: field.to_owned() })
    }

    #[test]
    fn a_list_is_counted_by_its_field_at_every_depth() {
        let batch = descriptor("BatchCreateTenantsRequest");
        let empty_requests = |items: usize| b"\x0a\x00".repeat(items);
        assert_eq!(count(&batch, &empty_requests(LIST_MAX)), Ok(()));
        assert_eq!(count(&batch, &empty_requests(LIST_MAX + 1)), too_many("requests"));
        let tenant =
            v1::Tenant { contacts: vec![v1::Contact::default(); LIST_MAX + 1], ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        let message = v1::BatchCreateTenantsRequest { requests: vec![request] };
        assert_eq!(count(&batch, &message.encode_to_vec()), too_many("requests.tenant.contacts"));
    }

    #[test]
    fn many_lists_that_are_each_short_enough_are_counted_together() {
        let tenant = v1::Tenant { contacts: vec![v1::Contact::default(); 100], ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        let requests =
            |count: usize| v1::BatchCreateTenantsRequest { requests: vec![request.clone(); count] };
        let batch = descriptor("BatchCreateTenantsRequest");
        assert_eq!(count(&batch, &requests(400).encode_to_vec()), Ok(()));
        assert_eq!(count(&batch, &requests(500).encode_to_vec()), too_many("requests.tenant.contacts"));
    }

    #[test]
    fn long_texts_and_noise_are_not_its_business() {
        let batch = descriptor("BatchCreateTenantsRequest");
        let long = v1::Tenant { description: "x".repeat(100_000), ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(long), ..Default::default() };
        let message = v1::BatchCreateTenantsRequest { requests: vec![request] };
        assert_eq!(count(&batch, &message.encode_to_vec()), Ok(()));
        assert_eq!(count(&batch, &vec![0xff; 100_000]), Ok(()));
        assert_eq!(count(&batch, &vec![0; 100_000]), Ok(()));
    }

    #[test]
    fn json_is_judged_by_its_commas() {
        assert!(has_too_many_commas(&b"{},".repeat(COMMAS_MAX + 1)));
        assert!(!has_too_many_commas(&b"{},".repeat(COMMAS_MAX)));
    }
}
