//! `fractional`: variants by weight, the same for the same bucketing value.

use super::datum::Datum;
use super::evaluate::{Evaluated, Evaluator, Scope};
use super::hash::Murmur3;
use super::node::{Fractional, Shares};
use super::{CONTEXT_BYTES_MAX, Failure, HashVersion, cbor};

/// Largest sum of all weights, as in flagd.
pub(super) const WEIGHTS_MAX: u32 = i32::MAX.unsigned_abs();

/// A variant and its weight.
type Share<'a> = (Datum<'a>, u32);

impl<'a> Evaluator<'a, '_> {
    #[inline(never)]
    pub(super) fn fractional(&self, fractional: &'a Fractional, scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let bucket_by = match &fractional.bucket_by {
            Some(node) => Some(self.node(node, scope)?),
            None => None,
        };
        // What stands where the bucketing value does can be an entry that is put together.
        let is_entry = bucket_by.as_ref().is_some_and(|value| value.len().is_some());
        match &fractional.shares {
            Shares::Fixed(weights, variants) if !is_entry => {
                self.charge(weights.len())?;
                let Some(hash) = self.bucketing_hash(bucket_by.as_ref())? else { return Ok(Datum::Null) };
                let Some(index) = self.hash.share(hash, weights.iter().copied()) else {
                    return Ok(Datum::Null);
                };
                variants
                    .get(index)
                    .map_or(Ok(Datum::Null), |variant| self.node(variant, scope))
                    .map(variant_only)
            }
            Shares::Fixed(weights, variants) => {
                let mut shares: Option<Vec<Share<'a>>> = bucket_by.iter().map(share_of).collect();
                for (weight, variant) in weights.iter().zip(variants) {
                    let variant = self.node(variant, scope)?;
                    if let Some(shares) = &mut shares {
                        shares.push((variant, *weight));
                    }
                }
                self.among(None, shares)
            }
            Shares::Entries(nodes) => {
                let mut values: Vec<Datum<'a>> = bucket_by.into_iter().collect();
                for node in nodes {
                    values.push(self.node(node, scope)?);
                }
                self.spread(&values, fractional.bucket_by.is_some())
            }
            Shares::Arguments(node) => {
                let values: Vec<Datum<'a>> = self.node(node, scope)?.items().collect();
                self.spread(&values, true)
            }
        }
    }

    /// Takes the bucketing value from the arguments, where there may be one, and chooses among the rest.
    fn spread(&self, values: &[Datum<'a>], may_bucket: bool) -> Evaluated<'a> {
        self.charge(values.len())?;
        let (bucket_by, entries) = match values {
            [first, rest @ ..] if may_bucket && first.len().is_none() => (Some(first), rest),
            _ => (None, values),
        };
        self.among(bucket_by, entries.iter().map(share_of).collect())
    }

    fn among(&self, bucket_by: Option<&Datum<'a>>, shares: Option<Vec<Share<'a>>>) -> Evaluated<'a> {
        let Some(shares) = shares else { return Ok(Datum::Null) };
        let sum: u64 = shares.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let hash = self.bucketing_hash(bucket_by)?.filter(|_| sum <= u64::from(WEIGHTS_MAX));
        let index = hash.and_then(|hash| self.hash.share(hash, shares.iter().map(|(_, weight)| *weight)));
        let chosen = index.and_then(|index| shares.into_iter().nth(index));
        Ok(chosen.map_or(Datum::Null, |(variant, _)| variant_only(variant)))
    }

    /// The hash of the bucketing value, and what it costs to look at that.
    fn bucketing_hash(&self, value: Option<&Datum<'a>>) -> Result<Option<u32>, Failure> {
        if let Some(text) = value.and_then(Datum::text) {
            self.charge_text(text)?;
        }
        if matches!(value, Some(Datum::Json(_) | Datum::Whole(_))) {
            // As much as the largest context holds, since its parts are not counted before they are hashed.
            self.charge(CONTEXT_BYTES_MAX / 64)?;
        }
        Ok(self.hash_of(value))
    }

    /// The hash of the bucketing value; without one, that of the flag's key and the targeting key. None where there is
    /// nothing to hash.
    fn hash_of(&self, value: Option<&Datum<'a>>) -> Option<u32> {
        let flag_key = self.input.flag_key;
        match (self.hash, value) {
            (HashVersion::V1 | HashVersion::V2, Some(value)) if value.text().is_some() => {
                value.text().map(|text| Murmur3::of(text.as_bytes()))
            }
            // flagd's server and its specification fall back to the targeting key where an attribute is missing.
            (HashVersion::V1 | HashVersion::V2, None | Some(Datum::Null)) => {
                let key = self.input.context.targeting_key().filter(|key| !key.is_empty())?;
                Some(Murmur3::default().with(flag_key.as_bytes()).with(key.as_bytes()).finish())
            }
            (HashVersion::V1 | HashVersion::V2, Some(_)) | (HashVersion::V3, Some(Datum::Null)) => None,
            (HashVersion::V3, value) => {
                let mut hash = Murmur3::default();
                let mut sink = |piece: &[u8]| hash = hash.with(piece);
                if let Some(value) = value {
                    cbor::write(value, &mut sink);
                } else {
                    let key = self.input.context.targeting_key().filter(|key| !key.is_empty())?;
                    cbor::write_array_head(2, &mut sink);
                    cbor::write_text(flag_key, &mut sink);
                    cbor::write_text(key, &mut sink);
                }
                Some(hash.finish())
            }
        }
    }
}

/// Reads `[variant, weight]`; the weight is 1 where there is none. None where it is no such list.
fn share_of<'a>(entry: &Datum<'a>) -> Option<Share<'a>> {
    let count = entry.len().filter(|count| *count > 0)?;
    let weight = if count > 1 { entry.item(1) } else { Datum::Null };
    Some((entry.item(0), weight_of(&weight)?))
}

/// A whole number; null is 1, negative ones count as 0. None where it is no weight.
pub(super) fn weight_of(weight: &Datum<'_>) -> Option<u32> {
    match weight {
        Datum::Null => Some(1),
        // Checked to be whole and in range.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Datum::Number(number) if number.fract() == 0.0 && *number <= f64::from(WEIGHTS_MAX) => {
            Some(number.max(0.0) as u32)
        }
        _ => None,
    }
}

/// A variant is a text, a number, a boolean or null.
fn variant_only(variant: Datum<'_>) -> Datum<'_> {
    match variant {
        Datum::Json(_) | Datum::List(_) | Datum::Whole(_) => Datum::Null,
        variant => variant,
    }
}
