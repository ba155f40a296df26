//! Credentials by which a tenant's access is tried: a file in the format that S3 tools share, a profile for each tenant.
//!
//! ```ini
//! [acme]
//! aws_access_key_id = AKIA…
//! aws_secret_access_key = …
//! ```
//!
//! The file is read again when it has changed: new tenants come while the server runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use tokio::sync::Mutex;

use crate::config::Secret;

/// The profile of somebody whom no tenant's suspension may touch. Tenant ids have no capitals.
pub(super) const NEIGHBOUR: &str = "NEIGHBOUR";

type Profiles = Arc<HashMap<String, (String, Secret<String>)>>;

/// The file.
pub(super) struct CredentialsFile {
    path: PathBuf,
    read: Mutex<Option<(SystemTime, Profiles)>>,
}

impl CredentialsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(None) }
    }

    /// The credential of a profile, if there is one.
    pub(super) async fn of(&self, profile: &str) -> Result<Option<Credentials>, std::io::Error> {
        let profiles = self.profiles().await?;
        Ok(profiles.get(profile).map(|(access_key, secret_key)| {
            Credentials::new(access_key, secret_key.expose(), None, None, "probe")
        }))
    }

    async fn profiles(&self) -> Result<Profiles, std::io::Error> {
        let mut read = self.read.lock().await;
        let changed = tokio::fs::metadata(&self.path).await?.modified()?;
        if let Some((then, profiles)) = &*read
            && *then == changed
        {
            return Ok(Arc::clone(profiles));
        }
        let profiles = Arc::new(parse(&tokio::fs::read_to_string(&self.path).await?));
        *read = Some((changed, Arc::clone(&profiles)));
        Ok(profiles)
    }
}

/// Profiles with both keys; anything else in the file is for others.
fn parse(text: &str) -> HashMap<String, (String, Secret<String>)> {
    let mut profiles: HashMap<String, HashMap<&str, &str>> = HashMap::new();
    let mut profile = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            profile = Some(name.trim().to_owned());
        } else if let (Some(profile), Some((key, value))) = (&profile, line.split_once('=')) {
            profiles.entry(profile.clone()).or_default().insert(key.trim(), value.trim());
        }
    }
    let keys = |pairs: &HashMap<&str, &str>| {
        let access_key = *pairs.get("aws_access_key_id")?;
        let secret_key = *pairs.get("aws_secret_access_key")?;
        Some((access_key.to_owned(), Secret::new(secret_key.to_owned())))
    };
    profiles.into_iter().filter_map(|(name, pairs)| Some((name, keys(&pairs)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_counts_when_it_has_both_keys() {
        let text = "# ours\n[acme]\naws_access_key_id = AK\n aws_secret_access_key=s=k\n\n[half]\n\
                    aws_access_key_id = AK2\n[ NEIGHBOUR ]\nregion=x\naws_access_key_id=N\naws_secret_access_key = n\n";
        let profiles = parse(text);
        assert_eq!(profiles.len(), 2);
        let (access_key, secret_key) = &profiles["acme"];
        assert_eq!((access_key.as_str(), secret_key.expose().as_str()), ("AK", "s=k"));
        assert!(profiles.contains_key(NEIGHBOUR));
    }

    #[tokio::test]
    async fn a_file_that_changed_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credentials = CredentialsFile::new(file.path().to_owned());
        assert!(credentials.of("acme").await.unwrap().is_none());
        std::fs::write(file.path(), "[acme]\naws_access_key_id=A\naws_secret_access_key=S\n").unwrap();
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        file.as_file().set_modified(later).unwrap();
        assert_eq!(credentials.of("acme").await.unwrap().unwrap().access_key_id(), "A");
    }
}
