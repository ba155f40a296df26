//! What the flag commands say to people: refusals in the words that were typed, and what did not happen.

use super::command_line::{refused, said};
use super::with_flag;

#[tokio::test]
async fn a_refusal_names_the_options_and_commands_that_are_typed() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.yaml");
    std::fs::write(&file, "flags: {search: {type: boolean, killSwitch: nothing}}\n").unwrap();
    let file = file.to_str().unwrap();
    let why =
        refused(&replica, &["flag", "apply", "--yes", "--reset-kill-switches", "nobody", "-f", file], 2)
            .await;
    assert!(why.contains("--reset-kill-switches[0]: must be") && !why.contains("reset_kill"), "{why}");
    let why = refused(&replica, &["flag", "apply", "--yes", "-f", file], 3).await;
    assert!(why.contains("flags.search.kill_switch: "), "what is in a file stays: {why}");
    let why = refused(&replica, &["flag", "update", "search", "--kill-switch", "nobody"], 3).await;
    assert!(why.contains("--kill-switch: there is no flag"), "{why}");
    let past = ["flag", "update", "search", "--expires", "2020-01-01T00:00:00Z"];
    let why = refused(&replica, &past, 2).await;
    assert!(why.contains("--expires: must lie in the future"), "{why}");
    let why = refused(&replica, &["tenant", "update", "finance", "--tier", "silver"], 4).await;
    assert!(why.contains("is changed by `tenantry tenant change-tier`, which"), "{why}");
    let why = refused(&replica, &["tenant", "delete", "finance"], 4).await;
    assert!(why.contains("cannot take `tenantry tenant delete`: "), "{why}");
    replica.stop().await;
}
