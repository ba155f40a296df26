//! versitygw as an object store: S3 over a folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Login;
use super::program::{Error, Folder, Program, answers, free_ports};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
#[derive(Debug)]
pub struct VersityGw {
    port: u16,
    _program: Program,
    _folder: Folder,
}

impl VersityGw {
    /// How a policy names a user: by its access key and nothing else.
    pub const PRINCIPAL: &str = "";

    /// Starts the program with `owner` as its root user, waits until it serves and makes the users.
    pub fn start(program: &Path, owner: &Login, users: &[Login]) -> Result<Self, Error> {
        let folder = Folder::new("versitygw")?;
        let at = |name: &str| folder.path().join(name);
        for name in ["iam", "versions", "data"] {
            fs::create_dir(at(name))?;
        }
        let [port] = free_ports()?;
        let arguments = [
            format!("--port=127.0.0.1:{port}"),
            format!("--access={}", owner.user),
            format!("--secret={}", owner.secret),
            format!("--iam-dir={}", at("iam").display()),
            "posix".to_owned(),
            format!("--versioning-dir={}", at("versions").display()),
            at("data").display().to_string(),
        ];
        let server = Program::start(program, &arguments, &at("log"))?;
        server.ready(PATIENCE, || answers(port))?;
        let server = Self { port, _program: server, _folder: folder };
        for user in users {
            server.make_user(program, owner, user)?;
        }
        Ok(server)
    }

    /// Where it is served.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn make_user(&self, program: &Path, owner: &Login, login: &Login) -> Result<(), Error> {
        let as_owner = ["admin", "--access", &owner.user, "--secret", &owner.secret];
        let mut command = Command::new(program);
        command.args(as_owner).args(["--endpoint-url", &self.endpoint(), "create-user", "--role", "user"]);
        command.args(["--access", &login.user, "--secret", &login.secret]).stdin(Stdio::null());
        let name = program.display().to_string();
        let output = command.output().map_err(|source| Error::NotThere { program: name.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::NotReady { program: name, log: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}
