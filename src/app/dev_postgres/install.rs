//! Finding an installed PostgreSQL.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// The oldest major version the registry's SQL is tested with.
const OLDEST: u32 = 14;
/// Where packages put one folder for each version.
const VERSIONED: &[&str] = &["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/postgresql"];

/// The server binaries of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Install {
    bin: PathBuf,
    major: u32,
}

impl Install {
    /// The installation to use: the one of version `wanted`, which made the cluster in `data_dir`, or the newest.
    pub(super) fn find(bin_dir: Option<&Path>, wanted: Option<u32>, data_dir: &Path) -> Result<Self, Error> {
        let found: Vec<Self> = match bin_dir {
            Some(bin) => {
                vec![Self::at(bin.to_owned()).ok_or_else(|| Error::NoBinaries { bin_dir: bin.to_owned() })?]
            }
            None => candidates().into_iter().filter_map(Self::at).collect(),
        };
        pick(found, wanted, data_dir)
    }

    /// The path of one of its programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn at(bin: PathBuf) -> Option<Self> {
        if !["initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file()) {
            return None;
        }
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin, major })
    }
}

fn pick(found: Vec<Install>, wanted: Option<u32>, data_dir: &Path) -> Result<Install, Error> {
    let Some(newest) = found.iter().map(|install| install.major).max().filter(|&major| major >= OLDEST)
    else {
        return Err(Error::NotInstalled { oldest: OLDEST });
    };
    let major = wanted.unwrap_or(newest);
    let mut versions: Vec<u32> = found.iter().map(|install| install.major).collect();
    found.into_iter().find(|install| install.major == major).ok_or_else(|| {
        versions.sort_unstable();
        versions.dedup();
        let installed = versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        Error::WrongVersion { data_dir: data_dir.to_owned(), found: major, installed }
    })
}

/// Folders that may hold the binaries; the first of a version wins.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for parent in VERSIONED {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    // Other packagers: /usr/pgsql-16/bin.
    let siblings = fs::read_dir("/usr").into_iter().flatten().flatten();
    folders.extend(
        siblings
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("pgsql-"))
            .map(|entry| entry.path().join("bin")),
    );
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    folders.extend(env::split_paths(&path));
    folders
}

/// `15` from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().nth(2)?;
    let digits = number.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(number.len());
    number.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(major: u32) -> Install {
        Install { bin: PathBuf::from(format!("/pg/{major}/bin")), major }
    }

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major_version("something else"), None);
    }

    #[test]
    fn a_new_cluster_gets_the_newest_version() {
        let dir = Path::new("/data");
        assert_eq!(pick(vec![install(15), install(17), install(16)], None, dir), Ok(install(17)));
    }

    #[test]
    fn a_cluster_keeps_the_version_that_made_it() {
        let dir = Path::new("/data");
        assert_eq!(pick(vec![install(15), install(17)], Some(15), dir), Ok(install(15)));
        let error = pick(vec![install(17), install(15)], Some(16), dir).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The data directory `/data` was made by PostgreSQL 16; installed: 15, 17. Install PostgreSQL 16, \
             or give another `--data-dir`."
        );
    }

    #[test]
    fn versions_that_are_too_old_count_as_none() {
        assert_eq!(pick(vec![install(11)], None, Path::new("/d")), Err(Error::NotInstalled { oldest: 14 }));
    }
}
