//! The engine in its run loop, behind a real hub on a star that is much too small for the speed: whatever is lost, a
//! book that is called live is the true one, and in the end every book is live again.

mod client;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use client::BookReader;
use nautilus_engine_marketdata::{Config as HubConfig, MarketdataEngine};
use nautilus_engine_websocket::{Level, WebsocketEngine};
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::EngineName;
use nautilus_messages::frame::BookState;
use nautilus_service::config::Transport;
use nautilus_service::{Config, EngineHandle, Platform, Shell};
use nautilus_testkit::RedisServer;
use nautilus_types::{InstrumentId, Side};

/// The recording in portions, as a feed hands it over.
fn session() -> Option<Vec<Vec<u8>>> {
    let path = nautilus_testkit::es_session()?;
    let mut feed = FileFeed::open(&path, &Registry::new()).expect("the recording opens");
    let mut portions = Vec::new();
    loop {
        let mut frames = Vec::new();
        if feed.read(2_000, &mut frames).expect("the recording reads") != Read::Frames {
            return Some(portions);
        }
        portions.push(frames);
    }
}

async fn levels(hub: &EngineHandle<MarketdataEngine>) -> [Vec<Level>; 2] {
    let look = |engine: &MarketdataEngine| {
        let book = engine.order_book(InstrumentId(1)).expect("an order book");
        [Side::Buy, Side::Sell].map(|side| {
            let level = |l: nautilus_engine_marketdata::BookLevel| Level {
                price: l.price,
                quantity: l.quantity,
                orders: l.orders,
            };
            book.levels(side).map(level).collect()
        })
    };
    hub.inspect(look).await.expect("the hub runs")
}

async fn replay_on_a_star_that_is_too_small(redis: Option<RedisServer>) {
    let Some(portions) = session() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
    config.bus.market_data.capacity = 256;
    if let Some(redis) = &redis {
        config.bus.market_data.transport = Transport::Redis;
        config.bus.market_data.url = redis.url();
        config.bus.market_data.stream_limit = 4;
    }
    let platform = Platform::new(config);
    let of_hub = platform.connect(EngineName::Marketdata).await.expect("connects");
    let hub = Shell::new(MarketdataEngine::new(HubConfig::default()), &of_hub).expect("a mesh");
    let hub = hub.publish_star(&of_hub, MarketdataEngine::book_snapshot).expect("the only hub");
    let hub = hub.spawn().expect("a thread");
    let of_reader = platform.connect(EngineName::Websocket).await.expect("connects");
    let (sender, receiver) = mpsc::channel();
    let shell = Shell::new(WebsocketEngine::default(), &of_reader).expect("a mesh").follow_star(&of_reader);
    let shell = shell.publish_to(move |_, publication| drop(sender.send(publication)));
    let engine = shell.spawn().expect("a thread");
    let feeder = hub.clone();
    let fed = tokio::task::spawn_blocking(move || {
        portions.into_iter().try_for_each(|portion| feeder.feed(portion)).expect("the hub runs");
    });
    fed.await.expect("fed");
    let mut reader = BookReader::default();
    let in_step = async {
        loop {
            reader.take(&receiver.try_iter().collect::<Vec<_>>());
            let live = reader.newest.as_ref().is_some_and(|change| change.state == BookState::Live);
            if live && reader.copy.levels() == levels(&hub).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(300), in_step).await;
    let newest = reader.newest.as_ref().map(|change| (change.state, change.sequence));
    assert!(ended.is_ok(), "the book never got in step again: {newest:?}");
    assert!(engine.progress().star_lost.load(Relaxed) > 0, "nothing was lost, so nothing was tried");
    let [bids, asks] = reader.copy.levels();
    assert_eq!((bids.len(), asks.len()), (922, 565));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    replay_on_a_star_that_is_too_small(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis() {
    replay_on_a_star_that_is_too_small(Some(RedisServer::start())).await;
}
