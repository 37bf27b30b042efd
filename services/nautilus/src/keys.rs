//! `nautilus keys`: makes access keys, lists them and takes them back.
//!
//! It changes the keys file only; running services see the change within two seconds. What a scope allows is not decided
//! here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_service::access::{DAYS_MAX, Key, KeyEntry, KeysError, KeysFile, Scope, check_name};
use nautilus_service::{Config, StartError, wall_clock};
use nautilus_types::UnixNanos;

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and show it, once.
    New(New),
    /// List the keys, without their secrets.
    List,
    /// Take a key back; services refuse it within two seconds.
    Revoke {
        /// The part between the underscores: nk_ID_…
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// What people call it, in lists and logs.
    #[arg(long, value_parser = name)]
    name: String,
    /// read, trade, risk:admin or operate; may be given several times.
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// How long it lives.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=i64::from(DAYS_MAX)))]
    days: u16,
    /// Write the key to this new file instead of showing it, for access.own_key_file or a container's secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

impl Keys {
    pub(crate) fn run(self, config: &Config) -> Result<ExitCode, StartError> {
        let path = &config.access.keys_file;
        match self {
            Self::New(new) => new.run(path),
            Self::List => list(path),
            Self::Revoke { id } => revoke(path, &id),
        }
    }
}

impl New {
    fn run(self, path: &Path) -> Result<ExitCode, StartError> {
        let key = Key::new()?;
        let mut file = KeysFile::open(path).map_err(refused)?;
        let scopes = self.scopes.iter().copied().collect();
        let entry = file.add(&key, &self.name, scopes, self.days, wall_clock()).map_err(refused)?.clone();
        if let Some(secret) = &self.secret_file {
            let failed = |cause| format!("the key cannot be written to {}: {cause}", secret.display());
            key.save(secret).map_err(|cause| StartError::File(failed(cause)))?;
        }
        if let Err(error) = file.write() {
            // Without its hash the key is worth nothing.
            let _ = self.secret_file.as_deref().map(std::fs::remove_file);
            return Err(refused(error));
        }
        self.show(&key, &entry, path);
        Ok(ExitCode::SUCCESS)
    }

    /// The key alone goes to standard output, so that a script can take it from there.
    fn show(&self, key: &Key, entry: &KeyEntry, path: &Path) {
        let KeyEntry { id, name, scopes, expires, .. } = entry;
        let (path, until) = (path.display(), day(*expires));
        complain!("key {id} '{name}' allows {scopes} until {until}; {path} keeps its hash only");
        if let Some(secret) = &self.secret_file {
            complain!("it was written to {}", secret.display());
            return;
        }
        complain!("this is the only time that it is shown; use it as in");
        complain!("  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8800/v1/instruments\n");
        say!("{}", key.reveal());
    }
}

fn list(path: &Path) -> Result<ExitCode, StartError> {
    let file = KeysFile::read(path).map_err(refused)?;
    let now = wall_clock();
    say!("{:<14}{:<12}{:<12}{:<10}{:<30}name", "id", "created", "expires", "state", "scopes");
    for key in file.keys() {
        let KeyEntry { id, name, scopes, created, expires, .. } = key;
        let state = if key.is_expired(now) { "expired" } else { "valid" };
        let scopes = scopes.to_string();
        say!("{id:<14}{:<12}{:<12}{state:<10}{scopes:<30}{name}", day(*created), day(*expires));
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(path: &Path, id: &str) -> Result<ExitCode, StartError> {
    // Refuses a file that is not there before one is made.
    KeysFile::read(path).map_err(refused)?;
    let mut file = KeysFile::open(path).map_err(refused)?;
    if !file.revoke(id) {
        let shown: String = id.chars().take(32).collect();
        let missing =
            format!("there is no key '{shown}' in {}; `nautilus keys list` lists all", path.display());
        return Err(StartError::File(missing));
    }
    file.write().map_err(refused)?;
    complain!("key {id} is revoked; running services refuse it within two seconds");
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::needless_pass_by_value)]
fn refused(error: KeysError) -> StartError {
    StartError::File(error.to_string())
}

fn day(at: UnixNanos) -> String {
    at.to_string().chars().take(10).collect()
}
