//! The gateway: one door for users. It passes requests on to engines, tells the state of the whole and serves the page.
//!
//! It holds nothing that an engine knows, and works whichever engine is away.

mod api;
mod document;
mod headers;
mod page;
mod plain;
mod poller;
mod proxy;
mod shapes;
mod status;
mod topology;
mod tunnel;
mod upstream;

use std::sync::Arc;

use axum::http::HeaderValue;
use nautilus_service::{Base, Config, ConfigError, Running, StartError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::Gateway;
use crate::document::Documents;
use crate::headers::Front;
use crate::proxy::Proxy;
use crate::status::StatusBoard;
use crate::tunnel::Tunnels;

const ABOUT: &str = "One door to every engine: their routes under `/api/{engine}`, the state of the whole, and the page. \
                     Engines that are away are named in `x-unreachable`.";

/// Starts the gateway. Engines need not be there; it finds them when they come.
///
/// # Errors
/// When an address is malformed, or a key of its own is named and cannot be read.
pub fn start(base: Base, listener: TcpListener) -> Result<Running, StartError> {
    let address = listener.local_addr()?;
    let access = &base.config.access;
    let tls = access.tls.is_set() && !address.ip().is_loopback();
    let front = Front { behind_proxy: access.behind_proxy, tls };
    let client = upstream::client(&base.config);
    let watched = poller::watched(&base)?;
    let documents = Arc::new(Documents::new(api::own_document(ABOUT)));
    let key = own_key(&base.config)?;
    let polls = poller::poll(&base, &client, key.as_ref(), &watched, &documents);
    let (stop, stopping) = watch::channel(false);
    let gateway = Arc::new(Gateway {
        proxy: Proxy::new(&base, client.clone(), front)?,
        tunnels: Tunnels::new(&base, client, front, stopping)?,
        documents,
        board: StatusBoard::new(base.clone(), watched),
        open: !base.config.asks_for_keys(),
    });
    let running = Running::without_engine(base, listener, ABOUT, api::router(gateway))?;
    // WebSockets outlive the requests that a stop waits for, so they are told first.
    Ok(running.with_feeds(async move {
        stop.send_replace(true);
        drop(polls);
    }))
}

/// The key with which engines are polled, where they ask for one.
fn own_key(config: &Config) -> Result<Option<HeaderValue>, ConfigError> {
    let Some(key) = config.access.own_key()? else { return Ok(None) };
    let unfit = |_| ConfigError::Setting {
        key: "access.own_key_file".into(),
        message: "the key holds characters that no header takes".into(),
    };
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(Some(value))
}
