//! The question before something goes, on a terminal.

use std::process::Command;

use tenantry::proto::v1;

use super::{boolean, with_flag};
use crate::support::Replica;

/// What a command says on a terminal on which its question is answered.
async fn answered(replica: &Replica, answer: &str, arguments: &[&str]) -> String {
    let server = format!("http://{}", replica.server.grpc);
    let mut command = Command::new("python3");
    command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/flags/terminal.py"), answer]);
    command.arg(env!("CARGO_BIN_EXE_tenantry")).args(arguments).args(["--server", &server]);
    command.env("NO_COLOR", "1");
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = super::apply::text(&done);
    assert!(done.status.success(), "{answer:?} to {arguments:?}: {:?}, {said}", done.status.code());
    said
}

async fn flag(replica: &mut Replica, key: &str) -> Option<v1::Flag> {
    let request = v1::GetFlagRequest { flag_key: key.into() };
    replica.flags.get_flag(request).await.ok().map(tonic::Response::into_inner)
}

#[tokio::test]
async fn only_a_yes_deletes_archives_and_applies() {
    let mut replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.yaml");
    std::fs::write(&file, "flags: {fresh: {type: boolean}}\n").unwrap();
    let apply = ["flag", "apply", "--prune", "-f", file.to_str().unwrap()];
    let archive = ["flag", "archive", "search"];
    let delete = ["flag", "delete", "search"];
    for (question, arguments) in
        [("Apply this?", &apply[..]), ("Archive this?", &archive), ("Delete this?", &delete)]
    {
        for answer in ["n", "", "^D"] {
            let said = answered(&replica, answer, arguments).await;
            let (shown, _) = said.split_once(question).unwrap_or_else(|| panic!("{question}: {said}"));
            assert!(shown.contains("search"), "what it is about comes first: {said}");
            let found = flag(&mut replica, "search").await.map(|flag| flag.state());
            assert_eq!(found, Some(v1::FlagState::Enabled), "{answer:?} to {question}: {said}");
        }
    }
    assert_eq!(flag(&mut replica, "fresh").await, None);

    let said = answered(&replica, "y", &archive).await;
    assert!(said.contains("flag search is archived"), "{said}");
    assert_eq!(flag(&mut replica, "search").await.unwrap().state(), v1::FlagState::Archived);
    let said = answered(&replica, "Y", &delete).await;
    assert!(said.contains("flag search is deleted"), "{said}");
    assert_eq!(flag(&mut replica, "search").await, None);
    let request = v1::CreateFlagRequest { flag: Some(boolean("search")), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    let said = answered(&replica, "yes", &apply).await;
    assert!(said.contains("applied as revision"), "{said}");
    assert!(flag(&mut replica, "fresh").await.is_some() && flag(&mut replica, "search").await.is_none());
    replica.stop().await;
}
