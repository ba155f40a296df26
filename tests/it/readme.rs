//! The README's tour, typed line by line.

use std::process::Command;
use std::time::Duration;

use tenantry::participants::stub::Stub;

use crate::support::programs::root;
use crate::support::{Replica, Setup, program};

/// The lines of the first block of commands under a heading.
fn commands(heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = text.split_once(heading).expect("the heading is there");
    let (_, block) = section.split_once("```sh\n").expect("it has commands");
    let (block, _) = block.split_once("```").expect("they end");
    block.lines().filter(|line| line.starts_with("tenantry ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_the_tour_does_what_it_says() {
    let mut stubs = Vec::new();
    for name in ["cache", "monitoring", "object-store", "vector-db"] {
        stubs.push((name, Stub::start(Duration::from_millis(1)).await.unwrap()));
    }
    let cache = stubs[0].1.endpoint();
    let replica = Replica::start(&Setup { stubs, ..Setup::default() }).await;
    let lines = commands("## Five minutes");
    assert!(lines.len() > 20, "the tour is read: {lines:?}");
    for line in lines {
        // The stub is not at the port that `make run` gives it.
        let typed = line.replace("stub fault cache", &format!("stub fault {cache}"));
        let typed = typed.replace("stub show cache", &format!("stub show {cache}"));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("tenantry() {{ '{}' \"$@\"; }}\n{typed}", program().display()));
        shell.env("TENANTRY_SERVER", format!("http://{}", replica.server.grpc));
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}\n{said}{complained}");
        for (of, wanted) in [
            ("bulk start suspend", "1 of 1 done"),
            ("flag explain", "TIER"),
            ("operation list                ", "RUNNING"),
            ("stub show", "ACTIVE"),
            ("tenant verify", "AS_DESIRED"),
        ] {
            assert!(!line.contains(of) || said.contains(wanted), "{line}: says no {wanted}\n{said}");
        }
    }
    replica.stop().await;
}
