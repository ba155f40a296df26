//! Where a tenant's things are in the object store, and whom to deny.

use crate::config::targets::s3::{Deny, Layout, S3 as Settings};
use crate::domain::tenant::ResourceNames;
use crate::participants::{Failure, TenantRef};

/// Where we keep what we know of each tenant. No tenant may have a prefix in here.
pub(super) const RECORDS: &str = ".tenantry/";
/// The object by which a tenant's access is tried, below its prefix. It is the tenant's to read, and empty.
const PROBE: &str = ".tenantry-probe";

/// One tenant's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The bucket with its data.
    pub bucket: String,
    /// What all its keys start with; empty where the bucket is its own.
    pub prefix: String,
    /// Whether the bucket is its own, to be made and removed with it.
    pub own_bucket: bool,
    /// The bucket with its record.
    pub record_bucket: String,
    /// The key of its record.
    pub record_key: String,
    /// The principals that act for it.
    pub principals: Vec<String>,
    /// Whether the prefix derives from its uid in the bucket where none that is chosen can reach it.
    pub is_derived: bool,
}

impl Place {
    /// Of a tenant. Refuses names by which one tenant's removal could reach another's data.
    pub(super) fn of(settings: &Settings, tenant: &TenantRef) -> Result<Self, Failure> {
        let uid = tenant.uid.simple().to_string();
        let fill = |template: &str| fill(template, tenant.tenant_id.as_str(), &uid);
        let (bucket, prefix, record_bucket) = match &settings.layout {
            Layout::Prefix => {
                let (bucket, prefix) = (&tenant.names.bucket, &tenant.names.bucket_prefix);
                check_prefix(prefix)?;
                if settings.neighbour_key.as_ref().is_some_and(|key| key.starts_with(prefix.as_str())) {
                    return Err(Failure::permanent(
                        "the tenant's prefix holds the object of `neighbour_key`, which no suspension may touch: one of both \
                         must be another",
                    ));
                }
                (bucket.clone(), prefix.clone(), bucket.clone())
            }
            Layout::Bucket { name, records } => (fill(name), String::new(), records.clone()),
        };
        let Deny::Principals(principals) = &settings.deny;
        let own_bucket = prefix.is_empty();
        if own_bucket && bucket == record_bucket {
            return Err(Failure::permanent("the tenant's bucket is the one that holds the records of all"));
        }
        let derived = ResourceNames::derived(&tenant.tenant_id, tenant.uid);
        Ok(Self {
            is_derived: bucket == derived.bucket && prefix == derived.bucket_prefix,
            bucket,
            prefix,
            own_bucket,
            record_bucket,
            record_key: format!("{RECORDS}{uid}"),
            principals: principals.iter().map(|template| fill(template)).collect(),
        })
    }

    /// Its uid, in 32 letters. Of a later tenant it is greater.
    pub(super) fn uid(&self) -> &str {
        self.record_key.strip_prefix(RECORDS).unwrap_or_default()
    }

    /// The key of the object by which access is tried.
    pub(super) fn probe_key(&self) -> String {
        format!("{}{PROBE}", self.prefix)
    }

    /// Whether a key is among the tenant's. `t/1/` has nothing to do with `t/12/`: a prefix ends with its slash.
    pub(super) fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
    }
}

/// Why a tenant that shares a bucket has no business in this one: it is another target's own, made for one tenant alone or
/// full of records. `None` where it may be there.
pub(super) fn is_anothers(settings: &Settings, place: &Place) -> Option<String> {
    let taken = settings.taken.iter().filter(|_| !place.own_bucket);
    let taken = taken.into_iter().find(|taken| taken.names.has(&place.bucket))?;
    Some(format!(
        "the tenant's bucket {} is of those that the target {} has for itself ({}), and would be removed with another tenant \
         or hold the records of all: make the tenant anew with another bucket, move its data there, and delete this one",
        place.bucket, taken.target, taken.names
    ))
}

/// Whether it is a uid as keys have it.
pub(super) fn is_uid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether it is the key of a tenant's record.
pub(super) fn is_record(key: &str) -> bool {
    key.strip_prefix(RECORDS).is_some_and(is_uid)
}

/// The principals of a tenant of which only its record is known.
pub(super) fn principals_of(templates: &[String], tenant_id: &str, record_key: &str) -> Vec<String> {
    let uid = record_key.strip_prefix(RECORDS).unwrap_or(record_key);
    templates.iter().map(|template| fill(template, tenant_id, uid)).collect()
}

fn fill(template: &str, tenant_id: &str, uid: &str) -> String {
    template.replace("{tenant_id}", tenant_id).replace("{uid}", uid)
}

fn check_prefix(prefix: &str) -> Result<(), Failure> {
    if prefix.len() < 2 || !prefix.ends_with('/') {
        return Err(Failure::permanent(
            "the tenant's prefix does not end with a slash and would reach others'",
        ));
    }
    if prefix.starts_with(RECORDS) {
        return Err(Failure::permanent(format!("prefixes below {RECORDS} are the registry's own")));
    }
    Ok(())
}
