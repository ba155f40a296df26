//! Object stores of several targets: what one has for itself, the others keep away from.

use std::collections::BTreeMap;

use super::s3::{Layout, S3, Taken};
use super::{Endpoint, TABLES, Target};
use crate::config::Error;
use crate::domain::tenant::{BucketNames, SHARED_BUCKET};

/// Refuses targets that would keep two tenants' things, or two records of one tenant, in one place; and tells each object
/// store which buckets are others' own.
pub(super) fn check(targets: &mut BTreeMap<String, Target>) -> Result<(), Error> {
    let stores: Vec<(String, S3)> = targets
        .iter()
        .filter_map(|(name, target)| match target {
            Target::S3(settings) => Some((name.clone(), (**settings).clone())),
            _ => None,
        })
        .collect();
    for (place, (name, settings)) in stores.iter().enumerate() {
        alone(name, settings)?;
        for (other_name, other) in stores[place + 1..].iter().filter(|(_, other)| same_store(settings, other))
        {
            if let Some(why) = clash(&settings.layout, &other.layout) {
                return Err(Error::Conflict(format!(
                    "The targets `{TABLES}.{name}` and `{TABLES}.{other_name}` are on the same object store, and {why}."
                )));
            }
        }
    }
    for (name, target) in targets {
        let Target::S3(settings) = target else { continue };
        let others =
            stores.iter().filter(|(other_name, other)| other_name != name && same_store(settings, other));
        settings.taken = others
            .filter_map(|(other_name, other)| Some((other_name, other.layout.own()?)))
            .flat_map(|(other_name, own)| own.map(|names| Taken { target: other_name.clone(), names }))
            .collect();
    }
    Ok(())
}

fn alone(name: &str, settings: &S3) -> Result<(), Error> {
    match settings.layout.own() {
        Some([own, records]) if own.meets(&records) => Err(Error::Conflict(format!(
            "The bucket `{records}` of `{TABLES}.{name}.records_bucket` is one that its `bucket` can make for a tenant, and \
             would be removed with it: call one of both otherwise."
        ))),
        _ => Ok(()),
    }
}

/// Why two layouts cannot stand beside each other in one store, as the end of a sentence.
fn clash(one: &Layout, other: &Layout) -> Option<String> {
    let (one, other) = match (one.own(), other.own()) {
        (None, None) => {
            return Some(
                "both have `layout = \"prefix\"`, so that each tenant's data and record are the same for both: leave one out; \
                 several principals of a tenant go into one list"
                    .to_owned(),
            );
        }
        (Some([_, records]), None) | (None, Some([_, records])) => {
            return records.has(SHARED_BUCKET).then(|| {
                format!(
                    "`records_bucket` of one is `{SHARED_BUCKET}`, the bucket that tenants of the other share where none is \
                     chosen: name another bucket for records"
                )
            });
        }
        (Some(one), Some(other)) => (one, other),
    };
    let meeting = |(one, other): &(&BucketNames, &BucketNames)| one.meets(other);
    let all = one.iter().flat_map(|names| other.iter().map(move |others| (names, others)));
    all.into_iter().find(meeting).map(|(one, other)| {
        format!(
            "`{one}` of one and `{other}` of the other can be the same bucket: give `bucket` and `records_bucket` names of \
             their own, or leave one target out"
        )
    })
}

/// Whether both reach the same store, as far as addresses tell.
fn same_store(one: &S3, other: &S3) -> bool {
    let address = |settings: &S3| settings.endpoint.as_ref().map(Endpoint::server);
    address(one) == address(other)
}
