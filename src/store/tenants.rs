//! Tenants and their health.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_postgres::types::{FromSql, Json};
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use super::committed::Rows;
use super::log::{Change, Context, revision};
use super::operations::{Lease, lease_ms};
use super::reading::{Range, Unreadable};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::health::{Score, Signals};
use crate::domain::ids::{OperationId, Revision, TenantId, TierId};
use crate::domain::operation::Operation;
use crate::domain::tenant::{Health, Profile, ProfileField, Tenant};

/// What `tenant/create.sql` takes. Written down straight: a tree of values in between costs as much as the statement.
#[derive(Serialize)]
struct NewRow<'a> {
    tenant: &'a Tenant,
    operation: Option<&'a Operation>,
    lease_owner: Uuid,
    lease_ms: i64,
}

/// Makes a tenant, with the operation that provisions it. Conflict where the tenant exists, another holds one of its
/// resource names, or tier or parent do not exist.
pub fn tenant_create(
    tenant: &Tenant,
    operation: Option<&Operation>,
    lease: Lease,
    context: &Context,
    reply: &impl Serialize,
) -> Change {
    let row = NewRow { tenant, operation, lease_owner: lease.owner, lease_ms: lease_ms(lease.length) };
    let event = Event::TenantCreated {
        tenant: Box::new(tenant.clone()),
        operation: operation.map(|operation| Box::new(operation.clone())),
    };
    let rows = Rows { tenant: Some(tenant.clone()), operation: operation.cloned(), ..Rows::default() };
    Change::new(change_sql!("tenant/create.sql"), row, event, context, reply).leaving(rows)
}

/// Changes a tenant that is still as it was at `expected`. Conflict also where tier or parent are gone, or the parent
/// came to stand below the tenant.
pub fn tenant_update(
    tenant: &Tenant,
    fields: &[ProfileField],
    expected: Revision,
    context: &Context,
    reply: &impl Serialize,
) -> Change {
    let row = json!({ "tenant": tenant, "expected": expected });
    let event = Event::TenantUpdated {
        tenant: Box::new(tenant.clone()),
        fields: fields.iter().map(|field| field.as_str().to_owned()).collect(),
    };
    let rows = Rows { tenant: Some(tenant.clone()), ..Rows::default() };
    Change::new(change_sql!("tenant/update.sql"), row, event, context, reply).leaving(rows)
}

/// Takes a health report. Conflict where the tenant is gone.
pub fn health_report(health: &Health, context: &Context) -> Change {
    let event = Event::TenantHealthReported { health: health.clone() };
    let rows = Rows { health: Some(health.clone()), ..Rows::default() };
    let change = Change::new(change_sql!("tenant/report_health.sql"), health, event, context, health);
    change.leaving(rows)
}

/// Reads tenants of a range, one by one: there may be a million. Answers those that cannot be read.
pub async fn tenants_changed_after(
    client: &impl GenericClient,
    range: Range,
    mut take: impl FnMut(Tenant),
) -> Result<Vec<Unreadable>, Error> {
    let rows = client.query_typed_raw(include_str!("sql/tenant/changed_after.sql"), range.bounds()).await?;
    let mut rows = std::pin::pin!(rows);
    let mut unreadable = Vec::new();
    while let Some(row) = rows.try_next().await? {
        match tenant(&row) {
            Ok(tenant) => take(tenant),
            Err(why) => unreadable.push(unread("tenant", &row, why)),
        }
    }
    Ok(unreadable)
}

/// Reads health reports of a range, one by one. Answers those that cannot be read.
pub async fn health_changed_after(
    client: &impl GenericClient,
    range: Range,
    mut take: impl FnMut(Health),
) -> Result<Vec<Unreadable>, Error> {
    let sql = include_str!("sql/tenant/health_changed_after.sql");
    let mut rows = std::pin::pin!(client.query_typed_raw(sql, range.bounds()).await?);
    let mut unreadable = Vec::new();
    while let Some(row) = rows.try_next().await? {
        match health(&row) {
            Ok(health) => take(health),
            Err(why) => unreadable.push(unread("tenant_health", &row, why)),
        }
    }
    Ok(unreadable)
}

/// A row whose key is its first column.
fn unread(table: &'static str, row: &Row, why: String) -> Unreadable {
    let key = row.try_get(0).unwrap_or_default();
    let revision = revision(row.try_get("revision").unwrap_or_default());
    Unreadable { table, key, revision, why }
}

/// Reads columns in the statement's order.
struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    fn get<T: FromSql<'a>>(&mut self) -> Result<T, String> {
        let index = self.next;
        self.next += 1;
        self.row
            .try_get(index)
            .map_err(|error| format!("column {}: {error:?}", self.row.columns()[index].name()))
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        self.get::<Json<T>>().map(|json| json.0)
    }

    fn text<T: From<&'a str>>(&mut self) -> Result<T, String> {
        self.get::<&str>().map(Into::into)
    }

    /// A name that serde knows as a variant of an enum.
    fn name<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        variant(self.get()?)
    }
}

fn variant<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    use serde::de::IntoDeserializer as _;
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        name.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

fn tenant(row: &Row) -> Result<Tenant, String> {
    let mut c = Columns { row, next: 0 };
    let tenant_id = id(c.get()?, TenantId::parse)?;
    let uid = c.get()?;
    let profile = Profile {
        display_name: c.text()?,
        description: c.text()?,
        parent: c.get::<Option<&str>>()?.map(|text| id(text, TenantId::parse)).transpose()?,
        business_unit: c.text()?,
        cost_center: c.text()?,
        owner: c.text()?,
        contacts: c.json()?,
        tier: id(c.get()?, TierId::parse)?,
        limit_overrides: c.json()?,
        sla_target: c.get()?,
        support_level: c.text()?,
        isolation_model: c.name()?,
        region: c.text()?,
        data_residency: c.text()?,
        compliance_frameworks: c.get::<Vec<&str>>()?.into_iter().map(Into::into).collect(),
        data_classification: c.name()?,
        encryption_key_ref: c.text()?,
        // resource_names stands here; it is not of the profile.
        time_zone: {
            c.next += 1;
            c.text()?
        },
        currency_code: c.text()?,
        monthly_budget: c.get()?,
        labels: c.json()?,
        annotations: c.json()?,
    };
    let resource_names = row
        .try_get::<_, Option<Json<_>>>("resource_names")
        .map_err(|error| format!("column resource_names: {error:?}"))?
        .map(|json| Box::new(json.0));
    let placement = row
        .try_get::<_, Option<Json<_>>>("placement")
        .map_err(|error| format!("column placement: {error:?}"))?
        .map(|json| Box::new(json.0));
    let undecided = row
        .try_get::<_, Option<Json<_>>>("undecided")
        .map_err(|error| format!("column undecided: {error:?}"))?
        .map(|json| Box::new(json.0));
    Ok(Tenant {
        tenant_id,
        uid,
        profile,
        resource_names,
        placement,
        undecided,
        status: c.name()?,
        status_time: c.get()?,
        status_reason: c.text()?,
        pending_status: c.get::<Option<&str>>()?.map(variant).transpose()?,
        operation_id: c.get::<Option<Uuid>>()?.map(OperationId::from_uuid),
        generation: u64::try_from(c.get::<i64>()?).map_err(|error| error.to_string())?,
        creator: c.text()?,
        create_time: c.get()?,
        update_time: c.get()?,
        delete_time: c.get()?,
        purge_time: c.get::<Option<Timestamp>>()?.map(Box::new),
        revision: revision(c.get()?),
        retain_time: row
            .try_get::<_, Option<Timestamp>>("retain_time")
            .map_err(|error| format!("column retain_time: {error:?}"))?
            .map(Box::new),
    })
}

fn health(row: &Row) -> Result<Health, String> {
    let mut c = Columns { row, next: 0 };
    Ok(Health {
        tenant_id: id(c.get()?, TenantId::parse)?,
        signals: Signals {
            latency_p95_ms: c.get()?,
            error_rate: c.get()?,
            query_success_rate: c.get()?,
            storage_utilization: c.get()?,
        },
        score: u8::try_from(c.get::<i16>()?).ok().and_then(Score::new).ok_or("column score: not 0 to 100")?,
        report_time: c.get()?,
        revision: revision(c.get()?),
    })
}

fn id<T, E: ToString>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, String> {
    parse(text).map_err(|error| error.to_string())
}
