//! What the compiler does not check: the floors, sizes, names, where SQL is, what no file may say.

mod links;
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use self::source::Source;

/// The floors of `docs/ARCHITECTURE.md`, top to bottom. A module may import those on lower floors and none beside it.
const FLOORS: &str = "
    app
    grpc http
    services
    auth
    cascade
    view metering audit
    store
    participants config
    domain
";
/// Every module may read its own struct of `config`, but for these, which take plain values.
const WITHOUT_CONFIG: &[&str] = &["domain", "cli", "proto"];
/// Who may see the wire types. Everybody else speaks `domain`.
const SEES_PROTO: &[&str] =
    &["app", "grpc", "http", "cli", "participants/remote", "participants/qdrant", "participants/stub"];
/// Crates of the outer floors that the rules must not know.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "prost",
    "tokio_postgres",
    "hyper",
    "http",
    "axum",
    "tracing",
    "clap",
    "opentelemetry",
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];
/// The first words of statements that belong into a file of their own.
const SQL_WORDS: &[&str] = &["SELECT ", "INSERT INTO ", "DELETE FROM ", "UPDATE ONLY ", "WITH RECURSIVE "];
/// What ties a file to the machine it was written on; in halves, so that this file passes.
const TIES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!(".lib", "rary"),
    concat!("registry.npm", "js.org"),
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("files.python", "hosted"),
    concat!("proxy.go", "lang.org"),
];

#[test]
fn no_import_runs_upwards() {
    let mut wrong = Vec::new();
    for (path, source) in rust_files("src") {
        let module = module_of(&path);
        // The root names the modules; `main` sees only what is public.
        if module == "lib" || module == "main" {
            continue;
        }
        for (line, imported) in source.imports() {
            if let Err(advice) = may_import(&module, &imported) {
                wrong.push(format!("{}:{line}: {advice}", path.display()));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_program_knows_only_the_composition_root() {
    let source = Source::read(&fs::read_to_string(root().join("src/main.rs")).unwrap());
    for module in source.paths_after("tenantry::") {
        assert_eq!(module.1, "app", "src/main.rs:{}: call tenantry::app, which wires everything", module.0);
    }
}

#[test]
fn the_domain_stays_pure() {
    let mut wrong = Vec::new();
    for (path, source) in rust_files("src/domain") {
        for name in IMPURE {
            for line in source.lines_with_path(name) {
                wrong.push(format!(
                    "{}:{line}: `{name}` does I/O or speaks a wire; take a value here and convert on the floor above",
                    path.display()
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn files_and_functions_stay_short_enough_to_read() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (path, source) in rust_files(folder) {
            let lines = source.lines();
            if lines > FILE_LINES_MAX {
                wrong.push(format!(
                    "{} has {lines} lines, at most {FILE_LINES_MAX}: move one concern, or the tests, to a file of its own",
                    path.display()
                ));
            }
            for (line, name, length) in source.functions() {
                if length > FUNCTION_LINES_MAX {
                    wrong.push(format!(
                        "{}:{line}: `{name}` has {length} lines, at most {FUNCTION_LINES_MAX}: give a step of it a name",
                        path.display()
                    ));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn modules_are_named_after_what_is_inside() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in files(&root().join(folder)) {
            let relative = path.strip_prefix(root()).unwrap();
            for part in relative.with_extension("").components() {
                let Component::Normal(name) = part else { continue };
                if EMPTY_NAMES.contains(&name.to_string_lossy().as_ref()) {
                    wrong.push(format!("{}: name it after what it does", relative.display()));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn sql_is_in_sql_files() {
    let mut wrong = Vec::new();
    for (path, source) in rust_files("src") {
        for (line, text) in source.strings_outside_tests() {
            let start = text.trim_start();
            if SQL_WORDS.iter().any(|word| start.starts_with(word)) {
                wrong.push(format!(
                    "{}:{line}: move the statement to sql/<aggregate>/<verb>.sql beside its module and include_str! it",
                    path.display()
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_sql_file_is_used() {
    let mut used = BTreeSet::new();
    for (path, source) in rust_files("src") {
        // Beside include_str! there are macros around it, which leave out the folder `sql`.
        let folder = root().join(&path).parent().unwrap().to_owned();
        for name in source
            .macro_arguments()
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|it| it == "sql"))
        {
            used.extend(
                [folder.join(name), folder.join("sql").join(name)]
                    .iter()
                    .filter_map(|at| at.canonicalize().ok()),
            );
        }
    }
    let unused: Vec<String> = files(&root().join("src"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .filter(|path| !used.contains(&path.canonicalize().unwrap()))
        .map(|path| format!("{}: nothing includes it; use it or remove it", path.display()))
        .collect();
    assert_none(&unused);
}

#[test]
fn no_file_is_tied_to_one_machine() {
    let mut wrong = Vec::new();
    for path in files(root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for tie in TIES {
            for (line, _) in text.lines().enumerate().filter(|(_, line)| line.contains(tie)) {
                wrong.push(format!(
                    "{}:{}: `{tie}` exists on one machine or is one machine's choice; leave it out",
                    path.strip_prefix(root()).unwrap().display(),
                    line + 1
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in files(root()) {
        if page.extension().is_some_and(|extension| extension == "md") {
            let broken = links::broken(&page);
            wrong.extend(broken.iter().map(|link| format!("{}: {link}", page.display())));
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_floors_decide_who_may_import_whom() {
    for (module, imported) in [
        ("grpc/tiers", "services"),
        ("services/tiers/create_tier", "store"),
        ("store/log", "domain"),
        ("store/connect", "config"),
        ("participants/remote", "proto"),
        ("participants/stub/faults", "proto"),
        ("cli/tenant", "proto"),
        ("app/serve", "grpc"),
        ("view/follower", "view"),
    ] {
        assert_eq!(may_import(module, imported), Ok(()), "{module} -> {imported}");
    }
    for (module, imported) in [
        ("domain/tier", "store"),
        ("domain/tier", "config"),
        ("store/log", "view"),
        ("view/follower", "cascade"),
        ("services/tiers", "grpc"),
        ("services/tiers", "proto"),
        ("participants/postgres", "proto"),
        ("cli/tenant", "domain"),
        ("cli/tenant", "config"),
        ("grpc/tiers", "app"),
        ("store/log", "newcomer"),
    ] {
        assert!(may_import(module, imported).is_err(), "{module} -> {imported}");
    }
}

/// Whether the file of `module`, a path such as `grpc/tiers`, may import the top module `imported`; the error says what
/// to do instead.
fn may_import(module: &str, imported: &str) -> Result<(), String> {
    let own = module.split('/').next().unwrap_or(module);
    if own == imported {
        return Ok(());
    }
    match imported {
        "proto" => {
            let sees = SEES_PROTO.iter().any(|who| {
                module == *who || module.strip_prefix(who).is_some_and(|rest| rest.starts_with('/'))
            });
            return sees.then_some(()).ok_or_else(|| {
                format!("`{own}` must not see the wire types; take domain values and convert in `grpc`")
            });
        }
        "config" if !WITHOUT_CONFIG.contains(&own) => return Ok(()),
        _ => {}
    }
    if own == "cli" && floor(imported).is_some() {
        return Err(format!("`cli` is a client of the public API and sees only `proto`, not `{imported}`"));
    }
    if own == "app" && imported == "cli" {
        return Ok(());
    }
    let (Some(above), Some(below)) = (floor(own), floor(imported)) else {
        return Err(format!(
            "`{own}` or `{imported}` has no floor; add it to FLOORS in tests/it/tidy.rs and say why"
        ));
    };
    if above < below {
        return Ok(());
    }
    Err(format!(
        "`{own}` must not import `{imported}`, which is not on a lower floor; move what both need down, or pass it in \
         from `app`"
    ))
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.trim().lines().position(|floor| floor.split_whitespace().any(|name| name == module))
}

/// `grpc/tiers` from `src/grpc/tiers.rs`, `grpc` from `src/grpc/mod.rs`.
fn module_of(path: &Path) -> String {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let path = if path.ends_with("mod") { path.parent().unwrap() } else { &path };
    path.to_str().unwrap().to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each Rust file below a folder of the repository, with its path from the root.
fn rust_files(folder: &str) -> Vec<(PathBuf, Source)> {
    files(&root().join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| {
            let source = Source::read(&fs::read_to_string(&path).unwrap());
            (path.strip_prefix(root()).unwrap().to_owned(), source)
        })
        .collect()
}

/// Every file below a folder but for what tools make.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if [".git", "target", "node_modules", ".tenantry", ".venv", "__pycache__"]
            .iter()
            .any(|skip| name == *skip)
        {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
