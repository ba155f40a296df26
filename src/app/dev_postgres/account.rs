//! Who runs the server, and what that account may reach.

use std::{
    fs::{self, DirBuilder, Metadata},
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

const ROOT: u32 = 0;
/// Programs see this and nothing else of our environment: no `PG*` variable and no locale can change what they do.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An account by its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    /// Whether this process runs as somebody else, which then can only be root.
    switch: bool,
}

impl Account {
    /// This process's own account, or under root the owner of the cluster, or where there is none yet `postgres`, or
    /// `nobody`.
    pub(super) fn choose(cluster: &Path) -> Result<Self, Error> {
        let own = fs::metadata("/proc/self").map_err(Error::io("read", Path::new("/proc/self")))?;
        if own.uid() != ROOT {
            return Ok(Self { uid: own.uid(), gid: own.gid(), switch: false });
        }
        if let Ok(owner) = fs::metadata(cluster)
            && owner.uid() != ROOT
        {
            return Ok(Self { uid: owner.uid(), gid: owner.gid(), switch: true });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) =
            ["postgres", "nobody"].iter().find_map(|name| ids_of(&passwd, name)).unwrap_or((65_534, 65_534));
        Ok(Self { uid, gid, switch: true })
    }

    /// Whether it is another account than this process's own, which then is root.
    pub(super) const fn is_switched(&self) -> bool {
        self.switch
    }

    /// The account's name for people, or its number where it has none.
    pub(super) fn name(&self) -> String {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        passwd
            .lines()
            .find(|line| line.split(':').nth(2) == Some(self.uid.to_string().as_str()))
            .and_then(|line| line.split(':').next())
            .map_or_else(|| self.uid.to_string(), |name| format!("`{name}`"))
    }

    /// A command that runs as this account, away from our working directory and our terminal's signals.
    pub(super) fn command(&self, program: &Path) -> Command {
        self.through_setpriv(&[], program)
    }

    /// The same for a server: when the thread that spawns it ends, the kernel tells it to shut down fast.
    pub(super) fn server_command(&self, program: &Path) -> Command {
        self.through_setpriv(&["--pdeathsig", "INT"], program)
    }

    fn through_setpriv(&self, extra: &[&str], program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if self.switch {
            command
                .arg(format!("--reuid={}", self.uid))
                .arg(format!("--regid={}", self.gid))
                .arg("--clear-groups");
        }
        command.args(extra).arg("--").arg(program);
        // Its own process group: a Ctrl-C is for us, and we tell the server after our own work is done.
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").process_group(0);
        command
    }

    /// Gives a file or folder to this account.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        if self.switch {
            chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("change the owner of", path))?;
        }
        Ok(())
    }

    /// The topmost folder on the way to `path` that this account may not enter.
    pub(super) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        if !self.switch {
            return None;
        }
        // A link leads elsewhere; what counts is the way to where it leads.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        way.into_iter()
            .find(|folder| fs::metadata(folder).is_ok_and(|folder| !self.may_enter(&folder)))
            .map(Path::to_owned)
    }

    fn may_enter(&self, folder: &Metadata) -> bool {
        let shift = if folder.uid() == self.uid {
            6
        } else if folder.gid() == self.gid {
            3
        } else {
            0
        };
        folder.mode() >> shift & 0o1 != 0
    }
}

/// Makes the data directory: for this account alone, or under root such that the server's account can pass through.
pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == ROOT);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let mode = if root { 0o711 } else { 0o700 };
    if !path.is_dir() {
        DirBuilder::new().mode(mode).create(path).map_err(Error::io("create", path))?;
        // The umask may have taken bits away.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("open up", path))?;
    }
    Ok(())
}

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(ids_of(PASSWD, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(PASSWD, "post"), None);
    }

    #[test]
    fn a_folder_that_is_closed_to_the_account_is_a_barrier() {
        let above = tempfile::tempdir().unwrap();
        let inside = above.path().join("data");
        fs::create_dir(&inside).unwrap();
        let stranger = Account { uid: 4_000_000, gid: 4_000_000, switch: true };
        fs::set_permissions(above.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(stranger.barrier(&inside), Some(above.path().canonicalize().unwrap()));
        fs::set_permissions(above.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(stranger.barrier(&inside), None);
    }
}
