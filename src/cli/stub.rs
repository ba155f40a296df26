//! `tenantry stub …`: what the stub participants of `tenantry dev` hold, and how they misbehave.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::number::finite;
use super::output::{print, show_list};
use super::{Context, Failure};

/// The stubs of `tenantry dev`, each with the port after the one before.
const STUBS: [&str; 4] = ["cache", "monitoring", "object-store", "vector-db"];
/// The port of the first, unless told otherwise.
const FIRST_PORT: u16 = 50061;

/// Where the stubs are.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The port of the first stub, as given to `tenantry dev`; the others follow. 50061 where not given.
    #[arg(long, value_name = "PORT", env = "TENANTRY_DEV_STUB_PORT")]
    dev_stub_port: Option<String>,
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
        let port = place.port_of(stub)?;
        Ok(format!("http://127.0.0.1:{port}"))
    }
}

impl Place {
    /// The port of a stub by its name.
    fn port_of(&self, stub: &str) -> Result<u16, Failure> {
        let index = (0..).zip(STUBS).find(|(_, name)| *name == stub).map(|(index, _): (u16, _)| index);
        let index = index.ok_or_else(|| {
            let names = STUBS.join(", ");
            Failure::usage(format!("`{stub}` is no stub of `tenantry dev` ({names}) and no URL"))
        })?;
        // A variable that is set to nothing says nothing.
        let told = self.dev_stub_port.as_deref().filter(|port| !port.is_empty());
        let first = told.map_or(Ok(FIRST_PORT), str::parse);
        let port = first.ok().filter(|first| *first != 0).and_then(|first: u16| first.checked_add(index));
        port.ok_or_else(|| {
            Failure::usage(
                "--dev-stub-port (TENANTRY_DEV_STUB_PORT) must be the port of the first stub; where `tenantry dev` takes \
                 free ones (0), give the stub's URL, which it prints",
            )
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
        let place = |port: Option<&str>| Place { dev_stub_port: port.map(str::to_owned) };
        let port = |port: Option<&str>| place(port).port_of("object-store").ok();
        assert_eq!(port(None), Some(50063));
        assert_eq!(port(Some("")), Some(50063));
        assert_eq!(port(Some("7000")), Some(7002));
        for wrong in ["0", "many", "65535", "-1"] {
            assert_eq!(port(Some(wrong)), None, "{wrong}");
        }
        assert!(place(None).port_of("elsewhere").is_err());
    }
}
