//! The published JavaScript clients of Connect and gRPC-Web, with stubs generated from the contract.

use std::path::PathBuf;
use std::process::Command;

use tokio::sync::OnceCell;

use crate::{
    clients::{must_run, root},
    support::{Replica, Setup},
};

/// The folder of the clients, with the stubs made; once a run, since several tests read them.
pub(crate) async fn clients_with_stubs() -> PathBuf {
    static STUBS: OnceCell<()> = OnceCell::const_new();
    let clients = root().join("tests/clients/connect");
    let buf = root().join("tools/node_modules/.bin/buf");
    let installed = clients.join("node_modules/.package-lock.json");
    assert!(buf.exists() && installed.exists(), "buf or the clients are missing; `make test` installs them");
    let make = || async {
        let mut stubs = Command::new(buf);
        stubs.args(["generate", "--template", "tests/clients/connect/buf.gen.yaml"]).current_dir(root());
        must_run(stubs).await;
    };
    STUBS.get_or_init(make).await;
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_published_javascript_transport_plays_the_scenario_on_both_ports() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let clients = clients_with_stubs().await;
    let mut play = Command::new("node");
    play.arg(clients.join("play.mjs"));
    for address in [replica.server.grpc, replica.server.http] {
        play.arg(format!("http://{address}"));
    }
    let said = must_run(play).await;
    assert!(said.contains("48 transports played, all as they must be."), "{said}");
    replica.stop().await;
}
