//! What may be linked: licences, one version of each framework, no second TLS or protobuf library. The same rules stand
//! in `deny.toml` for those who have cargo-deny.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Two versions of one of these do not understand each other's types, or double the build.
const ONE_VERSION: &[&str] = &[
    "axum",
    "bytes",
    "clap",
    "http",
    "http-body",
    "hyper",
    "jiff",
    "opentelemetry",
    "prost",
    "prost-types",
    "rustls",
    "tokio",
    "tokio-postgres",
    "tonic",
    "tower",
    "tracing",
    "uuid",
];

struct Package {
    name: String,
    version: String,
    licence: String,
    from_registry: bool,
    /// The names of the packages that ask for it.
    users: BTreeSet<String>,
}

#[test]
fn every_licence_is_one_we_accept() {
    let accepted = accepted_licences();
    for package in packages().iter().filter(|package| package.from_registry) {
        assert!(
            accepts(&package.licence, &accepted),
            "{} {} is under `{}`, which deny.toml does not allow: replace the crate, or add the licence there and say \
             why in the commit",
            package.name,
            package.version,
            package.licence
        );
    }
}

#[test]
fn each_framework_is_there_in_one_version() {
    let packages = packages();
    for name in ONE_VERSION {
        let versions: BTreeSet<&str> = packages
            .iter()
            .filter(|package| package.name == *name)
            .map(|package| package.version.as_str())
            .collect();
        assert!(
            versions.len() <= 1,
            "{name} is there as {versions:?}: `cargo tree -i {name}` shows who asks for which; choose one"
        );
    }
}

#[test]
fn no_banned_crate_is_linked() {
    let deny = manifest("deny.toml");
    let banned = banned(&deny["bans"]["deny"]);
    assert!(banned.contains_key("openssl-sys"));
    for package in packages() {
        let Some(wrappers) = banned.get(package.name.as_str()) else { continue };
        let users: Vec<&String> =
            package.users.iter().filter(|user| !wrappers.contains(user.as_str())).collect();
        assert!(
            users.is_empty() && !wrappers.is_empty(),
            "{} is banned in deny.toml, which says why: {users:?} ask for it; turn that feature off",
            package.name
        );
    }
}

#[test]
fn a_licence_expression_is_accepted_when_we_can_fulfil_it() {
    let accepted = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "Apache-2.0/GPL-3.0",
        "(MIT OR GPL-3.0) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(accepts(good, &accepted), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH GPL-exception", "(MIT OR GPL-3.0) AND AGPL-3.0"] {
        assert!(!accepts(bad, &accepted), "{bad}");
    }
}

/// The packages that are linked on this machine's platform, as cargo resolved them.
fn packages() -> Vec<Package> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let about = String::from_utf8(rustc.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let user = name_of[node["id"].as_str().unwrap()];
        for used in node["dependencies"].as_array().unwrap() {
            users.entry(used.as_str().unwrap()).or_default().insert(user.to_owned());
        }
    }
    let package = |package: &Value| Package {
        users: users.get(package["id"].as_str().unwrap()).cloned().unwrap_or_default(),
        name: package["name"].as_str().unwrap().to_owned(),
        version: package["version"].as_str().unwrap().to_owned(),
        licence: package["license"].as_str().unwrap_or_default().to_owned(),
        from_registry: package["source"].is_string(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn accepted_licences() -> BTreeSet<String> {
    texts(&manifest("deny.toml")["licenses"]["allow"]).map(str::to_owned).collect()
}

fn manifest(name: &str) -> toml::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What `deny.toml` bans, and for which users only it is let in.
fn banned(list: &toml::Value) -> BTreeMap<&str, BTreeSet<&str>> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|banned| match banned.as_str() {
            Some(name) => (name, BTreeSet::new()),
            None => (banned["crate"].as_str().unwrap(), texts(&banned["wrappers"]).collect()),
        })
        .collect()
}

fn texts(array: &toml::Value) -> impl Iterator<Item = &str> {
    array.as_array().unwrap().iter().map(|text| text.as_str().unwrap())
}

/// Whether an SPDX expression can be fulfilled with the accepted licences; the older `/` means OR.
fn accepts(expression: &str, accepted: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    any_of(&mut words, accepted) && words.is_empty()
}

fn any_of(words: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    let mut fulfilled = all_of(words, accepted);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        // Both sides are read, whatever the first one gave.
        fulfilled |= all_of(words, accepted);
    }
    fulfilled
}

fn all_of(words: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    let mut fulfilled = one(words, accepted);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        fulfilled &= one(words, accepted);
    }
    fulfilled
}

fn one(words: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let fulfilled = any_of(words, accepted);
            *words = words.strip_prefix(&[")"]).unwrap_or(words);
            fulfilled
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            accepted.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            accepted.contains(*licence)
        }
        [] => false,
    }
}
