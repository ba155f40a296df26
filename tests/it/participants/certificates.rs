//! Certificates of authorities that live as long as a test.

use std::path::PathBuf;
use std::process::Command;

use super::blocking;

/// For a server on 127.0.0.1 (`server`), for us (`client`), and from a stranger (`impostor`): `.crt` and `.key` each.
/// `authority.crt` is whom to trust.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) async fn new() -> Self {
        blocking(|| {
            let made = Self { folder: tempfile::tempdir().unwrap() };
            std::fs::write(made.path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
            for authority in ["authority", "stranger"] {
                made.openssl(&format!(
                    "req -x509 -nodes -days 2 -subj /CN={authority} -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
                     -keyout {authority}.key -out {authority}.crt"
                ));
            }
            for (name, by) in [("server", "authority"), ("client", "authority"), ("impostor", "stranger")] {
                made.openssl(&format!(
                    "req -new -nodes -subj /CN={name} -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout {name}.key \
                     -out {name}.request"
                ));
                made.openssl(&format!(
                    "x509 -req -days 2 -in {name}.request -CA {by}.crt -CAkey {by}.key -CAcreateserial -extfile names \
                     -out {name}.crt"
                ));
            }
            made
        })
        .await
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        let output = command.output().expect("openssl is installed by scripts/setup.sh");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    /// The keys of a target's table that trust the authority and show a certificate.
    pub(crate) fn settings(&self, name: &str) -> String {
        let [ca, cert, key] = ["authority.crt".to_owned(), format!("{name}.crt"), format!("{name}.key")]
            .map(|file| self.path(&file).display().to_string());
        format!("ca_file = \"{ca}\", cert_file = \"{cert}\", key_file = \"{key}\"")
    }

    /// The key of a target's table that trusts the authority and shows nothing.
    pub(crate) fn trust(&self) -> String {
        format!("ca_file = \"{}\"", self.path("authority.crt").display())
    }
}
