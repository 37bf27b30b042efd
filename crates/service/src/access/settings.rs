//! Section `[access]`: where the keys are, when they are asked for and what certificate is shown.
//!
//! It decides nothing about a request.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::key::Presented;
use crate::config::ConfigError;

/// A file with one key is a line; more is not a key.
const OWN_KEY_BYTES_MAX: u64 = 1_024;

/// Section `[access]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// The keys, without their secrets. `nautilus keys` writes it; a change is seen within two seconds.
    pub keys_file: PathBuf,
    /// Ask for keys on loopback too.
    pub required: bool,
    /// A proxy in front ends TLS and forwards to these listeners. Keys are asked for everywhere then.
    pub behind_proxy: bool,
    /// Requests a minute that a key may make at each service, on average.
    pub requests_per_minute: u32,
    /// A file that holds the key with which this process asks other services; empty for none.
    pub own_key_file: PathBuf,
    /// The certificate of listeners that are not loopback.
    pub tls: Tls,
}

/// PEM files; both or none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            keys_file: "data/keys.toml".into(),
            required: false,
            behind_proxy: false,
            requests_per_minute: 6_000,
            own_key_file: PathBuf::new(),
            tls: Tls::default(),
        }
    }
}

impl Tls {
    /// Whether there is a certificate to show.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }
}

impl Access {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            return Err(refused("access.tls", "certificate and key belong together: set both or none"));
        }
        if self.requests_per_minute == 0 {
            return Err(refused("access.requests_per_minute", "it must be at least 1"));
        }
        if self.keys_file.as_os_str().is_empty() {
            return Err(refused("access.keys_file", "it must name a file, for example data/keys.toml"));
        }
        Ok(())
    }

    /// The key with which this process asks other services, ready for `Authorization: Bearer`.
    ///
    /// # Errors
    /// When a file is named that does not hold a key.
    pub fn own_key(&self) -> Result<Option<String>, ConfigError> {
        use std::io::Read as _;
        let path = &self.own_key_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let refuse = |why: &str| {
            let advice = "write one with `nautilus keys new --name gateway --scope read --secret-file FILE`";
            refused("access.own_key_file", &format!("{} {why}; {advice}", path.display()))
        };
        let mut text = String::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(OWN_KEY_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|cause| refuse(&format!("cannot be read ({cause})")))?;
        let key = text.trim();
        Presented::parse(key).ok_or_else(|| refuse("does not hold a key"))?;
        Ok(Some(key.to_owned()))
    }
}

pub(super) fn refused(key: &str, message: &str) -> ConfigError {
    ConfigError::Setting { key: key.to_owned(), message: message.to_owned() }
}
