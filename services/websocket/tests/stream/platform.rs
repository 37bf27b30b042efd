//! The marketdata, vpin and websocket services in this process over local buses, as the launcher starts them.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nautilus_marketdata::{FeedState, Marketdata, Pace};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform};
use nautilus_vpin::Vpin;
use nautilus_websocket::Websocket;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails; debug builds share few cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// All three, up.
pub(crate) struct Services {
    pub(crate) marketdata: Marketdata,
    pub(crate) vpin: Vpin,
    pub(crate) websocket: Websocket,
    _folder: TempDir,
}

impl Services {
    pub(crate) async fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "store.url = \"sqlite://{}\"\n\
             services.marketdata.listen = \"127.0.0.1:0\"\n\
             services.vpin.listen = \"127.0.0.1:0\"\n\
             services.websocket.listen = \"127.0.0.1:0\"\n{settings}",
            folder.path().join("nautilus.db").display()
        );
        let config = Config::from_table(text.parse().expect("TOML")).expect("a legal configuration");
        let mut platform = Platform::new(config);
        let mut ends = Vec::new();
        for name in [EngineName::Websocket, EngineName::Vpin, EngineName::Marketdata] {
            let listener = platform.listen(name).await.expect("a free port");
            ends.push((platform.connect(name).await.expect("it connects"), listener));
        }
        let mut ends = ends.into_iter();
        let mut next = || ends.next().expect("one for each");
        let (connections, listener) = next();
        let websocket = nautilus_websocket::start(connections, listener).await.expect("it starts");
        let (connections, listener) = next();
        let vpin = nautilus_vpin::start(connections, listener).await.expect("it starts");
        let (connections, listener) = next();
        let marketdata = nautilus_marketdata::start(connections, listener).await.expect("it starts");
        Self { marketdata, vpin, websocket, _folder: folder }
    }

    /// Replays a recording; returns when the websocket engine has read all of it.
    pub(crate) async fn replay(&self, file: &Path, pace: Pace) {
        let job = self.marketdata.feeds.replay(file.to_owned(), pace).await.expect("the recording opens");
        eventually("the replay ends", || job.status().0 != FeedState::Running).await;
        let (state, _, reason) = job.status();
        assert_eq!(state, FeedState::Finished, "{reason:?}");
        let published = self.marketdata.engine.progress().star_published.load(Relaxed);
        let read = || self.websocket.engine.progress().star_read.load(Relaxed);
        eventually("the websocket engine has read everything", || read() >= published).await;
        self.websocket.engine.inspect(|_| ()).await.expect("it answers");
    }

    pub(crate) async fn stop(self) {
        self.marketdata.running.stop().await;
        self.vpin.running.stop().await;
        self.websocket.running.stop().await;
    }
}

pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited in vain until {what}");
}

/// What a route answers.
pub(crate) async fn get(url: String) -> Value {
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = ureq::get(&url).call().expect("it answers");
        serde_json::from_str(&answer.body_mut().read_to_string().expect("text")).expect("JSON")
    });
    answer.await.expect("the request ends")
}
