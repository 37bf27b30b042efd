//! `nautilus provision FOLDER`: the secrets that the containers share, made where they are missing and renewed before they
//! expire. Each lies in a folder of its own, which only those containers see that need it.
//!
//! It never prints a secret and makes no key for people: that is `nautilus keys new`.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use nautilus_service::access::{DAYS_MAX, Key, KeysFile, Scope};
use nautilus_service::{StartError, wall_clock};
use nautilus_types::{NANOS_PER_DAY, UnixNanos};

/// A key that lives for less is replaced; the old one works until its end.
const RENEW_DAYS: u64 = 30;
/// Programs that ask other services, where each keeps its key, and who else than its owner may read that.
const PROGRAMS: [(&str, &str, u32); 2] =
    [("gateway", "gateway/key", 0o400), ("prometheus", "prometheus/key", 0o440)];

#[derive(Debug, Args)]
pub(crate) struct Provision {
    /// Holds the folders gateway, prometheus and store.
    folder: PathBuf,
}

impl Provision {
    pub(crate) fn run(&self, keys_file: &Path) -> Result<(), StartError> {
        let mut keys = KeysFile::open(keys_file).map_err(refused)?;
        let now = wall_clock();
        let mut renewed = Vec::new();
        for (name, file, mode) in PROGRAMS {
            let file = self.folder.join(file);
            if !lives_on(&keys, &file, now) {
                let key = Key::new()?;
                keys.add(&key, name, Scope::Read.into(), DAYS_MAX, now).map_err(refused)?;
                renewed.push((file, key.reveal(), mode));
            }
        }
        // The doors know a key before anybody holds it.
        keys.write().map_err(refused)?;
        for (file, key, mode) in renewed {
            write_secret(&file, &key, mode)?;
        }
        self.store_password()?;
        let people = keys.keys().iter().filter(|key| PROGRAMS.iter().all(|(name, ..)| *name != key.name));
        say!("secrets are in place; {} keys for people (nautilus keys new makes one)", people.count());
        Ok(())
    }

    /// The database's password, as the server and as its clients read it.
    fn store_password(&self) -> Result<(), StartError> {
        let (server, client) = (self.folder.join("store/password"), self.folder.join("store/pgpass"));
        let password = match std::fs::read_to_string(&server) {
            Ok(password) => password,
            // Only then: the database would not know another one.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // As random as a key, and of letters that need no escape.
                let password = Key::new()?.reveal();
                write_secret(&server, &password, 0o440)?;
                password
            }
            Err(error) => {
                return Err(StartError::File(format!("{} cannot be read: {error}", server.display())));
            }
        };
        write_secret(&client, &format!("*:*:nautilus:nautilus:{}\n", password.trim()), 0o600)
    }
}

/// Whether the file holds a key that will be good for a while.
fn lives_on(keys: &KeysFile, file: &Path, now: UnixNanos) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let id = text.split('_').nth(1).unwrap_or_default();
    let needed = UnixNanos(now.0 + RENEW_DAYS * NANOS_PER_DAY);
    keys.keys().iter().any(|key| key.id == id && !key.is_expired(needed))
}

/// Replaces a file at once by one that only those may read whom `mode` names.
fn write_secret(path: &Path, text: &str, mode: u32) -> Result<(), StartError> {
    let new = path.with_extension("new");
    let written = (|| {
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        file.set_permissions(Permissions::from_mode(mode))?;
        std::fs::rename(&new, path)
    })();
    written.map_err(|error: std::io::Error| {
        StartError::File(format!("{} cannot be written: {error}; mount a folder there", path.display()))
    })
}

fn refused(error: impl std::fmt::Display) -> StartError {
    StartError::File(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(folder: &Path, file: &str) -> String {
        std::fs::read_to_string(folder.join(file)).unwrap()
    }

    #[test]
    fn secrets_are_made_once_and_only_their_readers_see_them() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let keys = folder.join("keys.toml");
        let provision = Provision { folder: folder.to_owned() };
        assert!(provision.run(&keys).unwrap_err().to_string().contains("mount a folder there"));
        for name in ["gateway", "prometheus", "store"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        provision.run(&keys).unwrap();
        let files = ["gateway/key", "prometheus/key", "store/password", "store/pgpass"];
        let before = files.map(|file| text(folder, file));
        provision.run(&keys).unwrap();
        assert_eq!(files.map(|file| text(folder, file)), before);
        let password = text(folder, "store/password");
        assert_eq!(text(folder, "store/pgpass"), format!("*:*:nautilus:nautilus:{password}\n"));
        for (file, mode) in files.into_iter().zip([0o400, 0o440, 0o440, 0o600]) {
            let permissions = std::fs::metadata(folder.join(file)).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{file}");
        }
        let kept = text(folder, "keys.toml");
        assert!(before.iter().all(|secret| !kept.contains(secret.trim())));
        std::fs::remove_file(folder.join("store/password")).unwrap();
        std::fs::create_dir(folder.join("store/password")).unwrap();
        assert!(provision.run(&keys).unwrap_err().to_string().contains("cannot be read"));
        assert_eq!(text(folder, "store/pgpass"), before[3], "a password that cannot be read is not replaced");
    }

    #[test]
    fn a_key_that_soon_expires_is_renewed() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("keys.toml");
        let (mut keys, key) = (KeysFile::open(&path).unwrap(), Key::new().unwrap());
        let made = UnixNanos(1_700_000_000_000_000_000);
        keys.add(&key, "gateway", Scope::Read.into(), DAYS_MAX, made).unwrap();
        let file = temporary.path().join("key");
        write_secret(&file, &key.reveal(), 0o400).unwrap();
        let later = |days: u64| UnixNanos(made.0 + days * NANOS_PER_DAY);
        for (now, lives) in [(made, true), (later(334), true), (later(336), false)] {
            assert_eq!(lives_on(&keys, &file, now), lives, "{now:?}");
        }
        assert!(!lives_on(&keys, &temporary.path().join("none"), made));
        write_secret(&file, "nonsense", 0o400).unwrap();
        assert!(!lives_on(&keys, &file, made));
    }
}
