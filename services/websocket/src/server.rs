//! Everybody who is connected, and what all connections share. It decides how many may come in; what a connection
//! hears is not decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nautilus_service::{Principal, Problem, StopSignal, wall_clock};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::fan_out::{FanOut, Pictures};
use crate::meters::Meters;
use crate::settings::Settings;

/// How often the client furthest behind is looked for.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// What all connections share.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) fan_out: Arc<FanOut>,
    pub(crate) pictures: Pictures,
    pub(crate) meters: Meters,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    admitted: AtomicU64,
    _tasks: Tasks,
}

/// Tasks that end with their owner.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Starts the tasks that keep the paces of conflated topics and look for the client furthest behind.
    pub(crate) fn start(settings: Settings, fan_out: Arc<FanOut>, pictures: Pictures) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            _tasks: Tasks(
                fan_out.keep_pace().into_iter().chain([tokio::spawn(watch_lag(this.clone()))]).collect(),
            ),
            settings,
            fan_out,
            pictures,
            meters: Meters::default(),
            clients: Mutex::default(),
            admitted: AtomicU64::new(0),
        })
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client in. It leaves when the guest is dropped.
    ///
    /// # Errors
    /// 503 when there are too many.
    pub(crate) fn admit(self: &Arc<Self>, origin: Origin) -> Result<Guest, Problem> {
        let Origin { address, principal, stop } = origin;
        let mut clients = self.clients();
        let most = self.settings.connections_max;
        if clients.len() >= most {
            self.meters.refused("too_many_connections");
            let detail = format!("{most} clients are connected, which is the limit; try again later");
            return Err(Problem::unavailable("too_many_connections", detail));
        }
        let id = self.admitted.fetch_add(1, Relaxed) + 1;
        let key = principal.as_ref().map(|principal| principal.id().to_owned());
        let client = Arc::new(Client::new(id, address, key, wall_clock()));
        clients.insert(id, Arc::clone(&client));
        self.count(clients.len());
        Ok(Guest { server: Arc::clone(self), client, principal, stop })
    }

    #[allow(clippy::cast_precision_loss)]
    fn count(&self, connected: usize) {
        self.meters.connections.set(connected as f64);
    }

    /// A page of the clients, by number, from the first behind `after`.
    pub(crate) fn page(&self, after: u64, limit: usize) -> Vec<Arc<Client>> {
        self.clients()
            .range(after.saturating_add(1)..)
            .take(limit)
            .map(|(_, client)| Arc::clone(client))
            .collect()
    }
}

/// Shows the client furthest behind, as long as there is a server.
#[allow(clippy::cast_precision_loss)]
async fn watch_lag(server: Weak<Server>) {
    let mut interval = tokio::time::interval(LAG_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Arc::new_cyclic may not have returned at the first tick; then there is nobody to look at yet either.
        let Some(server) = server.upgrade() else { continue };
        let clients: Vec<_> = server.clients().values().cloned().collect();
        let lag = clients.iter().map(|client| client.lag()).max().unwrap_or(0);
        server.meters.lag.set(lag as f64);
    }
}

/// Where a client comes from, and what its connection depends on.
#[derive(Default)]
pub(crate) struct Origin {
    pub(crate) address: Option<SocketAddr>,
    /// The key that was shown.
    pub(crate) principal: Option<Principal>,
    pub(crate) stop: Option<StopSignal>,
}

/// A client while it is connected.
pub(crate) struct Guest {
    pub(crate) server: Arc<Server>,
    pub(crate) client: Arc<Client>,
    principal: Option<Principal>,
    stop: Option<StopSignal>,
}

impl Guest {
    /// Whether the key that the client came with still holds; without keys everybody may stay.
    pub(crate) fn may_stay(&self) -> bool {
        self.principal.as_ref().is_none_or(Principal::is_valid)
    }

    /// Returns when the service is about to stop.
    pub(crate) async fn stopping(&self) {
        match self.stop.clone() {
            Some(mut stop) => stop.wait().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let fan_out = &self.server.fan_out;
        fan_out.unwatch(self.client.id);
        self.client.retire().iter().for_each(|tap| fan_out.close(tap));
        let mut clients = self.server.clients();
        clients.remove(&self.client.id);
        self.server.count(clients.len());
    }
}
