//! `tenantry stub …`: what the stub participants of `tenantry dev` hold, and how they misbehave.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::number::finite;
use super::output::{print, show_list};
use super::{Context, Failure};
use crate::config::process_environment;

/// The stubs of `tenantry dev`, each with the port after the one before.
const STUBS: [&str; 4] = ["cache", "monitoring", "object-store", "vector-db"];
/// The port of the first, unless told otherwise.
const FIRST_PORT: u16 = 50061;
/// Where `tenantry dev` is told otherwise, as are these commands.
const FIRST_PORT_VARIABLE: &str = "TENANTRY_DEV_STUB_PORT";

/// Where the stubs are.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The port of the first stub, as given to `tenantry dev`; else that of `TENANTRY_DEV_STUB_PORT`, or 50061.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    dev_stub_port: Option<u16>,
}

/// Commands to a stub participant.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show the state that each tenant is really in there.
    Show {
        /// Its name (cache, monitoring, object-store, vector-db) or its URL.
        stub: String,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Make it misbehave towards a tenant, or behave again.
    Fault {
        /// Its name (cache, monitoring, object-store, vector-db) or its URL.
        stub: String,
        /// Where.
        #[command(flatten)]
        place: Place,
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
        let (Self::Show { stub, place } | Self::Fault { stub, place, .. }) = self;
        if stub.contains("://") {
            return Ok(stub.clone());
        }
        let port = place.port_of(stub, process_environment(FIRST_PORT_VARIABLE))?;
        Ok(format!("http://127.0.0.1:{port}"))
    }
}

impl Place {
    /// The port of a stub by its name; `variable` is what the environment says.
    fn port_of(&self, stub: &str, variable: Option<String>) -> Result<u16, Failure> {
        let index = (0..).zip(STUBS).find(|(_, name)| *name == stub).map(|(index, _): (u16, _)| index);
        let index = index.ok_or_else(|| {
            let names = STUBS.join(", ");
            Failure::usage(format!("`{stub}` is no stub of `tenantry dev` ({names}) and no URL"))
        })?;
        let variable = variable.filter(|port| !port.is_empty());
        let told = match (self.dev_stub_port, variable) {
            (Some(port), _) => port,
            (None, None) => FIRST_PORT,
            (None, Some(port)) => port.parse().map_err(|_| {
                Failure::usage(format!("`{FIRST_PORT_VARIABLE}` must be the number of a port"))
            })?,
        };
        let port = told.checked_add(index).filter(|_| told != 0);
        port.ok_or_else(|| {
            Failure::usage(format!(
                "with port {told} the stubs are elsewhere at each start: give the stub's URL, which `tenantry dev` prints"
            ))
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
        Command::Fault { stub, fault, tenant, times, delay, .. } => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_is_where_dev_was_told_to_serve_it() {
        let place = |dev_stub_port| Place { dev_stub_port };
        let port = |flag, variable: Option<&str>| {
            place(flag).port_of("object-store", variable.map(str::to_owned)).ok()
        };
        assert_eq!(port(None, None), Some(50063));
        assert_eq!(port(None, Some("")), Some(50063));
        assert_eq!(port(None, Some("7000")), Some(7002));
        assert_eq!(port(Some(8000), Some("7000")), Some(8002));
        for (flag, variable) in [(None, Some("0")), (None, Some("many")), (Some(u16::MAX), None)] {
            assert_eq!(port(flag, variable), None, "{flag:?} {variable:?}");
        }
        assert!(place(None).port_of("elsewhere", None).is_err());
    }
}
