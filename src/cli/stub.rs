//! `tenantry stub …`: what the stub participants of `tenantry dev` hold, and how they misbehave.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::number::finite;
use super::output::{print, show_list};
use super::{Context, Failure};

/// Where `tenantry dev` serves its stubs, unless told otherwise.
const DEFAULT_PORTS: [(&str, u16); 4] =
    [("cache", 50061), ("monitoring", 50062), ("object-store", 50063), ("vector-db", 50064)];

/// Commands to a stub participant.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show the state that each tenant is really in there.
    Show {
        /// Its name (cache, monitoring, object-store, vector-db) or its URL.
        stub: String,
    },
    /// Make it misbehave towards a tenant, or behave again.
    Fault {
        /// Its name (cache, monitoring, object-store, vector-db) or its URL.
        stub: String,
        /// How.
        fault: Fault,
        /// Id of the tenant; every tenant where not given.
        #[arg(long)]
        tenant: Option<String>,
        /// How many calls, for fail and drop-reply.
        #[arg(long, default_value_t = 1)]
        times: u32,
        /// How many seconds later, for late.
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = finite)]
        delay: f64,
    },
}

/// How a stub misbehaves.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Fault {
    /// Not at all.
    None,
    /// Fails some calls.
    Fail,
    /// Refuses for good.
    Refuse,
    /// Never answers.
    Hang,
    /// Does the work and answers late.
    Late,
    /// Says it did the work, and did not.
    Lie,
    /// Does the work and drops the reply.
    DropReply,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::None => "FAULT_UNSPECIFIED",
            Self::Fail => "FAULT_FAIL",
            Self::Refuse => "FAULT_REFUSE",
            Self::Hang => "FAULT_HANG",
            Self::Late => "FAULT_LATE",
            Self::Lie => "FAULT_LIE",
            Self::DropReply => "FAULT_DROP_REPLY",
        }
    }
}

impl Command {
    /// Where the stub is.
    pub(super) fn server(&self) -> Result<String, Failure> {
        let (Self::Show { stub } | Self::Fault { stub, .. }) = self;
        if stub.contains("://") {
            return Ok(stub.clone());
        }
        let port = DEFAULT_PORTS.iter().find(|(name, _)| name == stub).map(|(_, port)| port);
        port.map(|port| format!("http://127.0.0.1:{port}")).ok_or_else(|| {
            let names = DEFAULT_PORTS.map(|(name, _)| name).join(", ");
            Failure::usage(format!("`{stub}` is no stub of `tenantry dev` ({names}) and no URL"))
        })
    }
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Show { .. } => {
            let answer = context.client.call("tenantry.stub.v1.StubControl/ListHeld", json!({})).await?;
            let columns =
                [("TENANT", "tenantId"), ("STATE", "state"), ("GENERATION", "generation"), ("UID", "uid")];
            show_list(context.connection.output, &answer, "held", &columns)
        }
        Command::Fault { stub, fault, tenant, times, delay } => {
            let request = json!({
                "tenant": tenant.as_deref().unwrap_or_default(),
                "fault": fault.name(),
                "times": times,
                "delay": format!("{delay:.3}s"),
            });
            context.client.call("tenantry.stub.v1.StubControl/SetFault", request).await?;
            let whom = tenant.map_or_else(|| "every tenant".to_owned(), |tenant| format!("tenant {tenant}"));
            print(&format!(
                "{stub} towards {whom}: {}\n",
                fault.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
            ))
        }
    }
}
