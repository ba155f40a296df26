//! The ordinary clients of the systems, with the tenants' own credentials.

use serde_json::{Value, json};

use super::super::Error;
use super::failed;
use super::object_store::Documents;
use super::systems::Systems;
use crate::proto::v1::Tenant;

/// Whether a client got what it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// It did.
    Yes,
    /// It was refused.
    No,
}

/// Where a client tries.
enum Place {
    /// A pooled connection of the application, which claims its tenant in each transaction.
    Database(tokio::sync::Mutex<tokio_postgres::Client>),
    /// A URL with the tenant's own user.
    Cache { url: String, prefix: String },
    /// Prometheus, which raises an alert.
    Monitoring { base: String, label: String },
    /// An object store, with the tenant's own keys.
    Store(Documents),
}

/// One tenant's client of one system.
pub(super) struct Client {
    tenant_id: String,
    place: Place,
}

/// The clients of all tenants in every system, with credentials and data.
pub(super) async fn of(systems: &Systems, tenants: &[Tenant]) -> Result<Vec<Client>, Error> {
    let database = systems.administrator().await?;
    database.batch_execute(include_str!("sql/schema.sql")).await.map_err(failed)?;
    let cache = redis::Client::open(systems.redis.url()).map_err(failed)?;
    let mut cache = cache.get_multiplexed_async_connection().await.map_err(failed)?;
    let mut clients = Vec::new();
    for tenant in tenants {
        database.execute(include_str!("sql/fill.sql"), &[&tenant.tenant_id]).await.map_err(failed)?;
        let names = tenant.resource_names.clone().unwrap_or_default();
        // The user's rules are Tenantry's; its password is the platform's.
        let user = format!("t-{}", tenant.uid.replace('-', ""));
        let mut enrol = redis::cmd("ACL");
        enrol.arg("SETUSER").arg(&user).arg(">secret").exec_async(&mut cache).await.map_err(failed)?;
        let login = format!("redis://{user}:secret@127.0.0.1:{}", systems.redis.port());
        for place in [
            Place::Database(tokio::sync::Mutex::new(systems.client().await?)),
            Place::Cache { url: login, prefix: names.cache_prefix },
            Place::Monitoring { base: systems.alertmanager.endpoint(), label: names.monitoring_label },
        ] {
            clients.push(Client { tenant_id: tenant.tenant_id.clone(), place });
        }
        if let Some(store) = &systems.object_store {
            let place = Place::Store(store.tenant(&tenant.tenant_id, &names.bucket_prefix).await?);
            clients.push(Client { tenant_id: tenant.tenant_id.clone(), place });
        }
    }
    Ok(clients)
}

impl Client {
    /// Whose it is.
    pub(super) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The system, for people.
    pub(super) const fn system(&self) -> &'static str {
        match self.place {
            Place::Database(_) => "PostgreSQL",
            Place::Cache { .. } => "Redis",
            Place::Monitoring { .. } => "Alertmanager",
            Place::Store(_) => "SeaweedFS (S3)",
        }
    }

    /// Does what such a client does all day; answers whether it got it, and what it met.
    pub(super) async fn tries(&self) -> Result<(Served, String), Error> {
        match &self.place {
            Place::Database(client) => query(&mut *client.lock().await, &self.tenant_id).await,
            Place::Cache { url, prefix } => Ok(remember(url, prefix).await),
            Place::Monitoring { base, label } => page(base, label).await,
            Place::Store(documents) => documents.tries().await,
        }
    }
}

async fn query(client: &mut tokio_postgres::Client, tenant_id: &str) -> Result<(Served, String), Error> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute(include_str!("sql/claim.sql"), &[&tenant_id]).await.map_err(failed)?;
    let rows = transaction.query_one(include_str!("sql/count.sql"), &[]).await.map_err(failed)?;
    let rows: i64 = rows.get(0);
    let added = transaction.execute(include_str!("sql/add.sql"), &[&tenant_id]).await;
    transaction.rollback().await.map_err(failed)?;
    let added = match &added {
        Ok(_) => "may add one".to_owned(),
        Err(error) => format!("may add none: {}", error.as_db_error().map_or("", |error| error.message())),
    };
    let served = if rows == 3 && added == "may add one" { Served::Yes } else { Served::No };
    Ok((served, format!("sees {rows} of its 3 orders, {added}")))
}

async fn remember(url: &str, prefix: &str) -> (Served, String) {
    let worked = async {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let key = format!("{prefix}basket");
        redis::cmd("SET").arg(&key).arg("apples").exec_async(&mut connection).await?;
        redis::cmd("GET").arg(&key).query_async::<String>(&mut connection).await
    };
    match worked.await {
        Ok(value) => (Served::Yes, format!("logs in, writes and reads its key: {value}")),
        Err(error) => (Served::No, format!("may not log in: {error}")),
    }
}

async fn page(base: &str, label: &str) -> Result<(Served, String), Error> {
    let http = reqwest::Client::new();
    let alert = json!([{ "labels": { "alertname": "Slow", "tenant": label } }]);
    let raised = http.post(format!("{base}/api/v2/alerts")).json(&alert).send().await.map_err(failed)?;
    raised.error_for_status().map_err(failed)?;
    let filter = format!("tenant=\"{label}\"");
    let seen = http.get(format!("{base}/api/v2/alerts")).query(&[("filter", filter)]).send().await;
    let seen: Vec<Value> = seen.map_err(failed)?.json().await.map_err(failed)?;
    let is_silenced = seen.iter().any(|alert| alert["status"]["state"] == "suppressed");
    Ok(if is_silenced {
        (Served::No, "its alert is silenced: nobody is paged".to_owned())
    } else {
        (Served::Yes, "its alert reaches people".to_owned())
    })
}
