//! Where OpenFeature's clients are served.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// What is written instead of an address to serve a protocol nowhere.
const OFF: &str = "off";

/// The addresses of OpenFeature's protocols. Two of them may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFeature {
    /// flagd's evaluation service.
    pub evaluation: Listen,
    /// flagd's sync service.
    pub sync: Listen,
    /// OFREP.
    pub ofrep: Listen,
}

/// Where a protocol is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nobody said: the command decides.
    Unset,
    /// Nowhere.
    Off,
    /// There; port 0 takes a free one.
    At(SocketAddr),
}

impl Listen {
    /// The address, if there is one.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::Unset | Self::Off => None,
        }
    }

    const fn or_port(self, port: u16) -> Self {
        match self {
            Self::Unset => Self::At(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            said => said,
        }
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "openfeature.evaluation_listen",
        "openfeature-evaluation-listen",
        None,
        Kind::Address,
        "Address of flagd's evaluation service, or `off`; `dev` takes 127.0.0.1:8013, `serve` none.",
    ),
    setting(
        "openfeature.sync_listen",
        "openfeature-sync-listen",
        None,
        Kind::Address,
        "Address of flagd's sync service, or `off`; `dev` takes 127.0.0.1:8015, `serve` none.",
    ),
    setting(
        "openfeature.ofrep_listen",
        "openfeature-ofrep-listen",
        None,
        Kind::Address,
        "Address of OFREP, or `off`; `dev` takes 127.0.0.1:8016, `serve` none.",
    ),
];

impl OpenFeature {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let listen = |key| match values.optional_text(key).as_deref() {
            None => Ok(Listen::Unset),
            Some(OFF) => Ok(Listen::Off),
            Some(_) => values.address(key).map(Listen::At),
        };
        Ok(Self {
            evaluation: listen("openfeature.evaluation_listen")?,
            sync: listen("openfeature.sync_listen")?,
            ofrep: listen("openfeature.ofrep_listen")?,
        })
    }

    /// Refuses to answer the world without an authenticator, as [`super::Server::check_exposure`] does.
    pub fn check_exposure(&self, has_authenticator: bool) -> Result<(), Error> {
        let exposed = self.addresses().find(|(_, address)| !has_authenticator && !address.ip().is_loopback());
        exposed.map_or(Ok(()), |(flag, address)| {
            Err(Error::Conflict(format!(
                "`--insecure-no-auth` needs every listener on loopback, but `--{flag}` is {address}."
            )))
        })
    }

    /// flagd's own ports on loopback, where nobody said anything else: its clients find them without being told.
    pub fn take_usual_ports(&mut self) {
        self.evaluation = self.evaluation.or_port(8013);
        self.sync = self.sync.or_port(8015);
        self.ofrep = self.ofrep.or_port(8016);
    }

    /// What is served where, with the flag that says so.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        [
            ("openfeature-evaluation-listen", self.evaluation),
            ("openfeature-sync-listen", self.sync),
            ("openfeature-ofrep-listen", self.ofrep),
        ]
        .into_iter()
        .filter_map(|(flag, listen)| listen.address().map(|address| (flag, address)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags};
    use super::*;

    fn read(evaluation: Option<&str>) -> Result<OpenFeature, Error> {
        let mut flags = Flags::default();
        if let Some(text) = evaluation {
            flags.values.insert("openfeature.evaluation_listen", text.to_owned());
        }
        Config::load(&flags, |_| None).map(|loaded| loaded.config.openfeature)
    }

    #[test]
    fn nothing_is_served_unless_somebody_says_where() {
        assert_eq!(read(None).unwrap().addresses().count(), 0);
        assert_eq!(read(Some("off")).unwrap().addresses().count(), 0);
        let at: SocketAddr = "127.0.0.1:9013".parse().unwrap();
        assert_eq!(read(Some("127.0.0.1:9013")).unwrap().evaluation, Listen::At(at));
        assert!(read(Some("somewhere")).is_err());
    }

    #[test]
    fn flagd_s_ports_are_taken_where_nobody_said_otherwise() {
        let mut given = read(Some("off")).unwrap();
        given.take_usual_ports();
        let ports: Vec<u16> = given.addresses().map(|(_, address)| address.port()).collect();
        assert_eq!(ports, [8015, 8016]);
    }

    #[test]
    fn without_an_authenticator_it_stays_on_this_machine() {
        let open = read(Some("0.0.0.0:8013")).unwrap();
        assert!(open.check_exposure(true).is_ok());
        let message = open.check_exposure(false).unwrap_err().to_string();
        assert!(message.contains("openfeature-evaluation-listen"), "{message}");
    }
}
