//! Whether a listener may be opened at all, and with what in front of it: keys, a certificate, both or nothing.
//!
//! An address that others can reach needs TLS, or a proxy that somebody vouches for, and a key that holds. Nothing else
//! starts.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::keys_file::KeysFile;
use super::ring::KeyRing;
use super::settings::{Access, refused};
use crate::config::{Config, ConfigError, ServiceName};
use crate::shell::wall_clock;
use crate::tls;

/// What stands in front of a listener.
pub(crate) struct Door {
    /// None where the listener is open.
    pub(crate) ring: Option<Arc<KeyRing>>,
    /// None where the listener speaks plain HTTP.
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Door {
    /// # Errors
    /// When the address may not be listened on as things are; one sentence that says what to do.
    pub(crate) fn open(
        config: &Config,
        service: ServiceName,
        address: SocketAddr,
    ) -> Result<Self, ConfigError> {
        let tls = Self::check(config, service, address)?;
        let Access { keys_file, requests_per_minute, .. } = &config.access;
        let guarded = config.asks_for_keys() || is_exposed(address);
        let open = || Arc::new(KeyRing::open(keys_file.clone(), *requests_per_minute));
        Ok(Self { ring: guarded.then(open), tls })
    }

    /// The same before the port is taken, so that nothing else is built in vain.
    pub(crate) fn check(
        config: &Config,
        service: ServiceName,
        address: SocketAddr,
    ) -> Result<Option<TlsAcceptor>, ConfigError> {
        if !is_exposed(address) {
            return Ok(None);
        }
        check_exposed(&config.access, service, address)?;
        let tls = &config.access.tls;
        tls.is_set().then(|| tls::acceptor(tls)).transpose()
    }
}

fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().is_loopback()
}

fn check_exposed(access: &Access, service: ServiceName, address: SocketAddr) -> Result<(), ConfigError> {
    let refuse = |why: &str| {
        let message = format!("{address} is not a loopback address, so others can reach it: {why}");
        Err(refused(&format!("services.{service}.listen"), &message))
    };
    if !access.tls.is_set() && !access.behind_proxy {
        return refuse(
            "set access.tls.certificate and access.tls.key, or access.behind_proxy = true where a proxy ends TLS, or \
             listen on 127.0.0.1",
        );
    }
    let file = match KeysFile::read(&access.keys_file) {
        Ok(file) => file,
        Err(error) => return refuse(&error.to_string()),
    };
    let now = wall_clock();
    if file.keys().iter().all(|key| key.is_expired(now)) {
        let path = access.keys_file.display();
        let advice = "make one with `nautilus keys new --name NAME --scope read`";
        return refuse(&format!("{path} holds no valid key; {advice}"));
    }
    Ok(())
}
