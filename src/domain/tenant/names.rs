//! Names of a tenant's resources in the target systems, and what keeps one tenant's from reaching another's.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::TenantId;
use crate::domain::text;
use crate::domain::violation::Violation;

/// Longest resource name, in bytes; PostgreSQL cuts longer identifiers silently, so the schema's name is bounded by
/// its rule and all others by this.
pub const RESOURCE_NAME_MAX: usize = 222;

/// The bucket that tenants share where none is chosen.
pub const SHARED_BUCKET: &str = "tenants";
/// Where targets keep what they know of each tenant: in the object store in the tenant's bucket, in the cache unless
/// configured otherwise.
const RECORDS: [(&str, &str); 2] = [("bucket_prefix", ".tenantry/"), ("cache_prefix", "tenantry:")];

/// Schemas that every database has, or that ours has beside those of tenants: removing a tenant's would remove them.
const SHARED_SCHEMAS: [&str; 3] = ["public", "information_schema", "tenancy"];

/// Names of a tenant's resources in the target systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceNames {
    /// PostgreSQL schema in application databases.
    pub database_schema: String,
    /// Collection or namespace in the vector database.
    pub vector_namespace: String,
    /// Bucket in the object store.
    pub bucket: String,
    /// Prefix inside the bucket, ends with `/`.
    pub bucket_prefix: String,
    /// Prefix of its keys in the cache, ends with `:`.
    pub cache_prefix: String,
    /// Value of the `tenant` label in monitoring.
    pub monitoring_label: String,
}

impl ResourceNames {
    /// The names a tenant gets where none are chosen. They derive from the uid, which is never reused, but for the
    /// monitoring label, which people read.
    pub fn derived(tenant_id: &TenantId, uid: Uuid) -> Self {
        let uid = uid.simple();
        Self {
            database_schema: format!("t_{uid}"),
            vector_namespace: format!("t-{uid}"),
            bucket: SHARED_BUCKET.to_owned(),
            bucket_prefix: format!("t/{uid}/"),
            cache_prefix: format!("t:{uid}:"),
            monitoring_label: tenant_id.as_str().to_owned(),
        }
    }

    /// What a tenant with these names holds for itself, in the order of [`NameKind::ALL`].
    pub fn claims(&self) -> [Claim; 5] {
        NameKind::ALL.map(|kind| {
            let name = match kind {
                NameKind::DatabaseSchema => self.database_schema.clone(),
                NameKind::VectorNamespace => self.vector_namespace.clone(),
                NameKind::BucketPrefix => format!("{}/{}", self.bucket, self.bucket_prefix),
                NameKind::CachePrefix => self.cache_prefix.clone(),
                NameKind::MonitoringLabel => self.monitoring_label.clone(),
            };
            Claim { kind, name: name.into() }
        })
    }

    /// What is wrong with the form of names; field names are those of the contract.
    fn violations(&self) -> Vec<Violation> {
        let word = |allowed: &'static str| {
            move |name: &str| {
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || allowed.contains(b as char))
            }
        };
        let mut found = Vec::new();
        let mut require = |field: &str, fine: bool, why: &str| {
            if !fine {
                found.push(violation(field, why));
            }
        };
        let schema = &self.database_schema;
        require(
            "database_schema",
            word("_")(schema)
                && schema.len() <= 63
                && schema.starts_with(|c: char| c.is_ascii_lowercase())
                && !schema.starts_with("pg_"),
            "must be 1 to 63 of a-z, 0-9 and _, a letter first, and not start with pg_",
        );
        require(
            "vector_namespace",
            word("_-")(&self.vector_namespace)
                && (1..=RESOURCE_NAME_MAX).contains(&self.vector_namespace.len()),
            "must be 1 to 222 of a-z, 0-9, _ and -",
        );
        let bucket = &self.bucket;
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        require(
            "bucket",
            word("-.")(bucket)
                && (3..=63).contains(&bucket.len())
                && edge(bucket.chars().next())
                && edge(bucket.chars().last())
                && !bucket.contains(".."),
            "must be 3 to 63 of a-z, 0-9, - and ., a letter or digit at both ends",
        );
        require(
            "bucket_prefix",
            word("_-./")(&self.bucket_prefix)
                && self.bucket_prefix.len() <= RESOURCE_NAME_MAX
                && self.bucket_prefix.len() > 1
                && self.bucket_prefix.ends_with('/')
                && !self.bucket_prefix.starts_with('/')
                && !self.bucket_prefix.contains("//")
                && !self.bucket_prefix.split('/').any(|part| part == "." || part == ".."),
            "must be up to 222 of a-z, 0-9, _, -, . and /, must not start with / and must end with /",
        );
        require(
            "cache_prefix",
            word("_-:")(&self.cache_prefix)
                && self.cache_prefix.len() <= RESOURCE_NAME_MAX
                && self.cache_prefix.len() > 1
                && self.cache_prefix.ends_with(':'),
            "must be up to 222 of a-z, 0-9, _, - and :, and must end with :",
        );
        if let Err(invalid) = text::label_value(&self.monitoring_label) {
            require("monitoring_label", false, &invalid.why);
        } else {
            require("monitoring_label", !self.monitoring_label.is_empty(), "must not be empty");
        }
        found
    }
}

fn violation(field: &str, why: &str) -> Violation {
    Violation::new(format!("resource_names.{field}"), why)
}

/// Resource names chosen by the caller; an empty one is derived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenNames {
    /// See [`ResourceNames::database_schema`].
    pub database_schema: String,
    /// See [`ResourceNames::vector_namespace`].
    pub vector_namespace: String,
    /// See [`ResourceNames::bucket`].
    pub bucket: String,
    /// See [`ResourceNames::bucket_prefix`].
    pub bucket_prefix: String,
    /// See [`ResourceNames::cache_prefix`].
    pub cache_prefix: String,
    /// See [`ResourceNames::monitoring_label`].
    pub monitoring_label: String,
}

impl ChosenNames {
    /// All names, the missing ones derived; `None` where nothing was chosen.
    pub fn complete(&self, tenant_id: &TenantId, uid: Uuid) -> Option<Box<ResourceNames>> {
        if *self == Self::default() {
            return None;
        }
        let mut names = ResourceNames::derived(tenant_id, uid);
        let pairs = [
            (&self.database_schema, &mut names.database_schema),
            (&self.vector_namespace, &mut names.vector_namespace),
            (&self.bucket, &mut names.bucket),
            (&self.bucket_prefix, &mut names.bucket_prefix),
            (&self.cache_prefix, &mut names.cache_prefix),
            (&self.monitoring_label, &mut names.monitoring_label),
        ];
        for (chosen, name) in pairs {
            if !chosen.is_empty() {
                name.clone_from(chosen);
            }
        }
        Some(Box::new(names))
    }

    /// What is wrong with them, whatever other tenants there are. No chosen name may be, or reach into, one that the
    /// server derives for any tenant, now or later: the migration that keeps names apart says the same.
    pub(super) fn violations(&self, tenant_id: &TenantId) -> Vec<Violation> {
        // The derived names have the right form, so only chosen ones can be at fault.
        let Some(names) = self.complete(tenant_id, Uuid::nil()) else { return Vec::new() };
        let mut found = names.violations();
        let mut refuse = |field: &str, reached: bool| {
            if reached {
                found.push(violation(
                    field,
                    "must not be of the kind that the server derives from uids; leave it empty for that",
                ));
            }
        };
        let is_uid = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let derived = |name: &str, lead: &str| name.strip_prefix(lead).is_some_and(is_uid);
        refuse("database_schema", derived(&self.database_schema, "t_"));
        refuse("vector_namespace", derived(&self.vector_namespace, "t-"));
        let reaches = |prefix: &str, lead: &str, separator: char| {
            let rest = prefix.strip_prefix(lead);
            rest.is_some_and(|rest| rest.is_empty() || rest.split(separator).next().is_some_and(is_uid))
        };
        let shared = names.bucket == SHARED_BUCKET;
        refuse("bucket_prefix", shared && reaches(&self.bucket_prefix, "t/", '/'));
        refuse("cache_prefix", reaches(&self.cache_prefix, "t:", ':'));
        if SHARED_SCHEMAS.contains(&self.database_schema.as_str()) {
            found.push(violation("database_schema", "must not be a schema that is there for all"));
        }
        for ((field, records), prefix) in RECORDS.iter().zip([&self.bucket_prefix, &self.cache_prefix]) {
            if prefix.starts_with(records) {
                found.push(violation(field, "must not start where the server keeps its records"));
            }
        }
        found
    }
}

/// What a name is a name of; each kind is a space of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// A schema.
    DatabaseSchema,
    /// A collection or namespace.
    VectorNamespace,
    /// A part of the object store: a bucket, `/`, and a prefix in it.
    BucketPrefix,
    /// A part of the cache.
    CachePrefix,
    /// The value of a label.
    MonitoringLabel,
}

impl NameKind {
    /// Every kind, in the order of the contract's fields.
    pub const ALL: [Self; 5] = [
        Self::DatabaseSchema,
        Self::VectorNamespace,
        Self::BucketPrefix,
        Self::CachePrefix,
        Self::MonitoringLabel,
    ];

    /// The field of the contract that the name is given in.
    pub const fn field(self) -> &'static str {
        match self {
            Self::DatabaseSchema => "resource_names.database_schema",
            Self::VectorNamespace => "resource_names.vector_namespace",
            Self::BucketPrefix => "resource_names.bucket_prefix",
            Self::CachePrefix => "resource_names.cache_prefix",
            Self::MonitoringLabel => "resource_names.monitoring_label",
        }
    }

    /// Whether such a name stands for everything that starts with it. It ends with a separator, so `a:` does not reach
    /// `ab:`.
    const fn is_prefix(self) -> bool {
        matches!(self, Self::BucketPrefix | Self::CachePrefix)
    }
}

/// A name that one tenant holds and no other may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What it is a name of.
    pub kind: NameKind,
    /// The name.
    pub name: Box<str>,
}

impl Claim {
    /// Whether both cannot be held by two tenants: the same name, or one prefix within the other.
    pub fn meets(&self, other: &Self) -> bool {
        let within = |outer: &Self, inner: &Self| inner.name.starts_with(&*outer.name);
        self.kind == other.kind
            && (self.name == other.name
                || (self.kind.is_prefix() && (within(self, other) || within(other, self))))
    }

    /// Whether any of the claims held meets this one. Those held do not meet each other, so only the neighbours in
    /// their order can.
    pub fn is_taken<T>(&self, held: &OrdMap<Self, T>) -> bool {
        let (before, after) = (held.get_prev(self), held.get_next(self));
        before.into_iter().chain(after).any(|(other, _)| self.meets(other))
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
