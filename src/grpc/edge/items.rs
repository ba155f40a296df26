//! What a message becomes when it is decoded, judged by its bytes before anybody does.
//!
//! An item of a list takes two bytes to send and, decoded, up to a kilobyte: without a bound a message of one mebibyte
//! becomes half a gigabyte, and refusing it afterwards is too late.

use std::collections::{BTreeMap, HashMap};

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// What one message may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most items of one list or map.
    pub list_max: usize,
    /// Most bytes in memory of all items, texts and messages, at every depth.
    pub bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { list_max: 10_000, bytes_max: 32 << 20 }
    }
}

/// A shorter message cannot become too much, as each of its bytes becomes fewer than a thousand, and is not looked into.
pub(super) const SUSPICIOUS_BYTES: usize = 20_000;
/// Messages are decoded up to this depth only.
const DEPTH_MAX: usize = 100;
/// What a text takes where it stands, as does a list.
const TEXT_BYTES: usize = 24;
/// What a map takes where it stands.
const MAP_BYTES: usize = 48;

/// A message that would become more than is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooMany {
    /// The field in which a bound was crossed, from the request on: `requests.tenant.contacts`.
    pub(super) field: String,
    /// The bounds.
    pub(super) bounds: Bounds,
}

/// Weighs a message. What is no such message passes: whoever decodes it says what is wrong.
pub(super) fn check(descriptor: &MessageDescriptor, message: &[u8], bounds: Bounds) -> Result<(), TooMany> {
    if message.len() <= SUSPICIOUS_BYTES {
        return Ok(());
    }
    Scale { bounds, left: bounds.bytes_max, sizes: HashMap::new() }.weigh(descriptor, message, 0)
}

struct Scale {
    bounds: Bounds,
    left: usize,
    /// What a message of a name takes where it stands.
    sizes: HashMap<String, usize>,
}

impl Scale {
    fn weigh(
        &mut self,
        descriptor: &MessageDescriptor,
        mut bytes: &[u8],
        depth: usize,
    ) -> Result<(), TooMany> {
        let mut counts = BTreeMap::<u32, usize>::new();
        while !bytes.is_empty() && depth < DEPTH_MAX {
            let Some((number, value)) = next_field(&mut bytes) else { return Ok(()) };
            let Some(field) = descriptor.get_field(number) else { continue };
            let too_many = TooMany { field: String::new(), bounds: self.bounds };
            let is_repeated = field.is_list() || field.is_map();
            if is_repeated {
                let count = counts.entry(number).or_default();
                *count += 1;
                if *count > self.bounds.list_max {
                    return Err(too_many.within(&field));
                }
            }
            let weight = self.weight(&field, is_repeated, value.unwrap_or_default());
            self.left = self.left.checked_sub(weight).ok_or_else(|| too_many.within(&field))?;
            if let (Kind::Message(inner), Some(value)) = (field.kind(), value) {
                self.weigh(&inner, value, depth + 1).map_err(|too_many| too_many.within(&field))?;
            }
        }
        Ok(())
    }

    /// What an occurrence of a field takes beside what is inside of it. What is there once stands in its message.
    fn weight(&mut self, field: &FieldDescriptor, is_repeated: bool, value: &[u8]) -> usize {
        match field.kind() {
            Kind::Message(inner) if is_repeated => self.size(&inner),
            Kind::Message(_) => 0,
            Kind::String | Kind::Bytes => {
                let stands = if is_repeated { TEXT_BYTES } else { 0 };
                stands + value.len().next_multiple_of(16)
            }
            // Packed ones come with a length: each takes a byte at least.
            _ => 8 * value.len().max(1),
        }
    }

    fn size(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(size) = self.sizes.get(message.full_name()) {
            return *size;
        }
        let size = extent(message, 0);
        self.sizes.insert(message.full_name().to_owned(), size);
        size
    }
}

impl TooMany {
    fn within(self, field: &FieldDescriptor) -> Self {
        let name = field.name();
        let field = if self.field.is_empty() { name.to_owned() } else { format!("{name}.{}", self.field) };
        Self { field, ..self }
    }
}

/// What a message takes where it stands, with all the fields that it does not have.
fn extent(message: &MessageDescriptor, depth: usize) -> usize {
    let size = |field: FieldDescriptor| match field.kind() {
        _ if field.is_map() => MAP_BYTES,
        _ if field.is_list() => TEXT_BYTES,
        Kind::String | Kind::Bytes => TEXT_BYTES,
        // Whatever contains itself other than in a list stands elsewhere.
        Kind::Message(inner) if depth < 8 => 8 + extent(&inner, depth + 1),
        _ => 8,
    };
    let single = message.fields().filter(|field| field.containing_oneof().is_none()).map(size).sum::<usize>();
    // Of these there is one.
    let choices = message.oneofs().map(|one| 8 + one.fields().map(size).max().unwrap_or_default());
    8 + single + choices.sum::<usize>()
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
        // One that the contract does not know is passed over as a whole, as whoever decodes the message does.
        WireType::StartGroup | WireType::EndGroup => {
            skip_field(wire_type, number, bytes, DecodeContext::default()).ok()?;
            return Some((number, None));
        }
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((number, (wire_type == WireType::LengthDelimited).then_some(value)))
}

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

    const BOUNDS: Bounds = Bounds { list_max: 10_000, bytes_max: 8 << 20 };

    fn too_many(field: &str) -> Result<(), TooMany> {
        Err(TooMany { field: field.to_owned(), bounds: BOUNDS })
    }

    #[test]
    fn a_list_is_counted_by_its_field_at_every_depth() {
        let batch = descriptor("BatchCreateTenantsRequest");
        let roomy = Bounds { bytes_max: usize::MAX, ..BOUNDS };
        let empty_requests = |items: usize| b"\x0a\x00".repeat(items);
        assert_eq!(check(&batch, &empty_requests(10_000), roomy), Ok(()));
        assert!(check(&batch, &empty_requests(10_001), roomy).is_err_and(|it| it.field == "requests"));
        let tenant = v1::Tenant { contacts: vec![v1::Contact::default(); 10_001], ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        let message = v1::BatchCreateTenantsRequest { requests: vec![request] };
        assert_eq!(check(&batch, &message.encode_to_vec(), BOUNDS), too_many("requests.tenant.contacts"));
    }

    #[test]
    fn many_lists_that_are_each_short_enough_are_weighed_together() {
        let tenant = v1::Tenant { contacts: vec![v1::Contact::default(); 1_000], ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        let requests =
            |count: usize| v1::BatchCreateTenantsRequest { requests: vec![request.clone(); count] };
        let batch = descriptor("BatchCreateTenantsRequest");
        assert_eq!(check(&batch, &requests(20).encode_to_vec(), BOUNDS), Ok(()));
        assert_eq!(
            check(&batch, &requests(200).encode_to_vec(), BOUNDS),
            too_many("requests.tenant.contacts")
        );
    }

    /// By the compiler's own measure, so that no message of the contract is taken for less than it is.
    #[test]
    fn no_message_is_smaller_than_what_it_is_weighed_as() {
        let size = |name| extent(&descriptor(name), 0);
        assert!((size_of::<v1::Flag>()..=2 * size_of::<v1::Flag>()).contains(&size("Flag")));
        assert!((size_of::<v1::TargetingRule>()..=500).contains(&size("TargetingRule")));
        assert!((size_of::<v1::VariantWeight>()..=100).contains(&size("VariantWeight")));
        assert!((size_of::<v1::CreateTenantRequest>()..=5_000).contains(&size("CreateTenantRequest")));
        let condition = descriptor("Condition").get_field_by_name("values").unwrap().kind();
        let value = extent(condition.as_message().unwrap(), 0);
        assert!((size_of::<prost_types::Value>()..=100).contains(&value), "{value}");
    }

    /// Four bytes in front of a message took it off the scale.
    #[test]
    fn an_unknown_group_hides_nothing_of_what_follows_or_stands_within() {
        let apply = descriptor("ApplyFlagsRequest");
        let flags = b"\x0a\x00".repeat(20_000);
        let group = |within: &[u8]| [b"\xc3\x3e", within, b"\xc4\x3e"].concat();
        for before in [group(b""), group(&group(b"\x08\x01")), group(b"\x0a\x02\xc4\x3e")] {
            let message = [&before, &*flags].concat();
            assert_eq!(check(&apply, &message, BOUNDS), too_many("flags"));
        }
        // Nobody decodes what comes after these.
        for broken in [&b"\xc3\x3e"[..], b"\xc4\x3e", b"\xc3\x3e\xc4\x3f"] {
            let message = [broken, &flags].concat();
            assert_eq!(check(&apply, &message, BOUNDS), Ok(()));
            assert!(v1::ApplyFlagsRequest::decode(&*message).is_err());
        }
    }

    #[test]
    fn values_of_lists_are_weighed() {
        let apply = descriptor("ApplyFlagsRequest");
        let text = |text: &str| prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
        };
        let condition =
            |values: usize| v1::Condition { values: vec![text("tenant"); values], ..Default::default() };
        let set = |values: usize| {
            let rule = v1::TargetingRule { conditions: vec![condition(values); 64], ..Default::default() };
            let flag = v1::Flag { rules: vec![rule], ..Default::default() };
            v1::ApplyFlagsRequest { flags: vec![flag], ..Default::default() }.encode_to_vec()
        };
        assert_eq!(check(&apply, &set(1_000), BOUNDS), Ok(()));
        let refused = check(&apply, &set(2_000), BOUNDS).unwrap_err();
        assert!(refused.field.starts_with("flags.rules.conditions.values"), "{refused:?}");
    }

    #[test]
    fn long_texts_and_noise_are_not_its_business() {
        let batch = descriptor("BatchCreateTenantsRequest");
        let long = v1::Tenant { description: "x".repeat(100_000), ..Default::default() };
        let request = v1::CreateTenantRequest { tenant: Some(long), ..Default::default() };
        let message = v1::BatchCreateTenantsRequest { requests: vec![request] };
        assert_eq!(check(&batch, &message.encode_to_vec(), BOUNDS), Ok(()));
        assert_eq!(check(&batch, &vec![0xff; 100_000], BOUNDS), Ok(()));
        assert_eq!(check(&batch, &vec![0; 100_000], BOUNDS), Ok(()));
    }
}
