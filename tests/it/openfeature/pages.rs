//! flagd's services as a web page asks for them: Connect and gRPC-Web by their published clients for browsers, from
//! another origin.

use std::process::Command;

use super::world::World;
use crate::connect::clients_with_stubs;
use crate::support::programs::must_run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_published_transport_for_browsers_asks_and_listens_from_a_page_of_another_origin() {
    let world = World::with_broken_flags().await;
    let clients = clients_with_stubs().await;
    let mut play = Command::new("node");
    play.arg(clients.join("flags.mjs"));
    for address in [world.address("rpc"), world.address("in-process"), world.replica.server.grpc] {
        play.arg(format!("http://{address}"));
    }
    let said = must_run(play).await;
    assert!(said.contains("12 transports played, all as they must be."), "{said}");
    world.stop().await;
}
