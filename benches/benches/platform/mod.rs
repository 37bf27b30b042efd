//! The platform in this process, as the launcher starts it: both engines on free ports, a database of their own.
//!
//! It follows `services/nautilus/src/platform.rs` and `replay.rs` and draws nothing.
#![allow(dead_code)]

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nautilus_engine::Engine;
use nautilus_marketdata::{FeedState, Marketdata, Pace};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform};
use nautilus_testkit::RedisServer;
use nautilus_vpin::Vpin;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// Both engines, up.
pub(crate) struct Engines {
    pub(crate) marketdata: Marketdata,
    pub(crate) vpin: Vpin,
    _folder: TempDir,
}

impl Engines {
    /// Starts over local buses, or over the two servers given.
    pub(crate) async fn start(redis: Option<&[RedisServer; 2]>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut platform = Platform::new(config(folder.path(), redis));
        let marketdata = platform.listen(EngineName::Marketdata).await.expect("a free port");
        let vpin = platform.listen(EngineName::Vpin).await.expect("a free port");
        let connections = platform.connect(EngineName::Vpin).await.expect("vpin connects");
        let vpin = nautilus_vpin::start(connections, vpin).await.expect("vpin starts");
        let connections = platform.connect(EngineName::Marketdata).await.expect("marketdata connects");
        let marketdata =
            nautilus_marketdata::start(connections, marketdata).await.expect("marketdata starts");
        Self { marketdata, vpin, _folder: folder }
    }

    /// Replays a recording at full speed; returns its records once both engines and the store have all of it.
    pub(crate) async fn replay(&self, file: &Path) -> u64 {
        let start = Instant::now();
        let job =
            self.marketdata.feeds.replay(file.to_owned(), Pace::Max).await.expect("the recording opens");
        while job.status().0 == FeedState::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (state, progress, reason) = job.status();
        assert_eq!(state, FeedState::Finished, "{reason:?}");
        let published = self.marketdata.engine.progress().star_published.load(Relaxed);
        while self.vpin.engine.progress().star_read.load(Relaxed) < published {
            assert!(start.elapsed() < DEADLINE, "vpin does not catch up with the star");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.vpin.engine.inspect(|_| ()).await.expect("vpin answers");
        self.marketdata.store.flush(DEADLINE).await.expect("the store catches up");
        self.vpin.store.flush(DEADLINE).await.expect("the store catches up");
        assert_eq!(self.vpin.engine.progress().star_lost.load(Relaxed), 0, "vpin missed frames");
        progress.records
    }

    /// The states of both engines, in two numbers.
    pub(crate) async fn digests(&self) -> [u64; 2] {
        let marketdata = self.marketdata.engine.inspect(Engine::digest).await.expect("marketdata answers");
        [marketdata, self.vpin.engine.inspect(Engine::digest).await.expect("vpin answers")]
    }

    pub(crate) async fn stop(self) {
        self.marketdata.stop().await;
        self.vpin.running.stop().await;
    }
}

fn config(folder: &Path, redis: Option<&[RedisServer; 2]>) -> Config {
    let mut text = format!(
        "store.url = \"sqlite://{}\"\n\
         services.marketdata.listen = \"127.0.0.1:0\"\n\
         services.vpin.listen = \"127.0.0.1:0\"\n",
        folder.join("nautilus.db").display()
    );
    for (bus, server) in ["market_data", "engine_logic"].into_iter().zip(redis.into_iter().flatten()) {
        text += &format!("bus.{bus}.transport = \"redis\"\nbus.{bus}.url = \"{}\"\n", server.url());
    }
    Config::from_table(text.parse().expect("TOML")).expect("a legal configuration")
}
