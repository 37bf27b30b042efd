//! Real services from recording to socket: independent clients rebuild what was sent and hold it against what the
//! marketdata service shows.

mod client;
mod platform;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nautilus_marketdata::Pace;
use nautilus_testkit::es_session;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use client::{Client, nanos};
use platform::{PATIENCE, Services, eventually, get};

/// The recorded session, or the simulated one of the repository.
fn session() -> PathBuf {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/simulated-session.mbo.dbn.zst");
    es_session().unwrap_or(sample)
}

/// A book as `GET /v1/books` shows it, in the form of the client's.
fn levels(side: &Value) -> Vec<(i64, String, u64)> {
    let level = |level: &Value| {
        let text = |field: &str| level[field].as_str().expect("a text").to_owned();
        (nanos(&text("price")), text("quantity"), level["orders"].as_u64().expect("a count"))
    };
    side.as_array().expect("levels").iter().map(level).collect()
}

/// Holds a client's books against those that the marketdata service shows.
async fn check_books(client: &Client, marketdata: &str) {
    let mut books = 0;
    for (name, topic) in client.topics.iter().filter(|(name, _)| name.starts_with("books.")) {
        let symbol = name.strip_prefix("books.").expect("a book");
        let shown = get(format!("{marketdata}/v1/books/{symbol}?depth=1000")).await;
        let book = &topic.book;
        assert_eq!(
            (&json!(book.state), &json!(book.sequence)),
            (&shown["state"], &shown["sequence"]),
            "{symbol}"
        );
        let known =
            |price: &i64, (_, quantity, orders): &(String, String, u64)| (*price, quantity.clone(), *orders);
        let bids: Vec<_> =
            book.bids.iter().rev().take(1_000).map(|(price, level)| known(price, level)).collect();
        let asks: Vec<_> = book.asks.iter().take(1_000).map(|(price, level)| known(price, level)).collect();
        assert_eq!(bids, levels(&shown["bids"]), "{symbol}");
        assert_eq!(asks, levels(&shown["asks"]), "{symbol}");
        assert!(!bids.is_empty() && topic.book.checksums > 0, "{symbol}: {topic:?}");
        books += 1;
    }
    assert!(books > 0, "no book came");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_rebuild_the_books_of_a_session_whatever_the_pace() {
    // The clients share two cores with everything else: being behind is no reason for a slower pace here.
    let services = Services::start(
        "engines.websocket.behind_max = 100000\nengines.websocket.history_bytes = 67108864\n\
        engines.websocket.history_updates = 100000",
    )
    .await;
    let (url, marketdata) = (services.websocket.running.url(), services.marketdata.running.url());
    let topics = ["books.*", "trades.*", "bars.*.1m", "vpin.*", "alerts.*", "system.*"];
    let clients = [0, 10, 100, 1_000].map(|conflate_ms| {
        let url = url.clone();
        tokio::spawn(async move { Client::subscribed(&url, &topics, conflate_ms).await })
    });
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await.expect("a client"));
    }
    // All read while the session runs, and then until they have what the service lists.
    let (told, listed) = tokio::sync::watch::channel(None::<Value>);
    let readers: Vec<_> = connected
        .into_iter()
        .map(|mut client| {
            let mut listed = listed.clone();
            tokio::spawn(async move {
                let end = async {
                    loop {
                        tokio::select! {
                            biased;
                            _ = listed.wait_for(Option::is_some) => return,
                            more = client.take() => assert!(more, "the connection ended: {:?}", client.close),
                        }
                    }
                };
                end.await;
                let listed = listed.borrow().clone().expect("told");
                client.catch_up(&listed).await;
                client
            })
        })
        .collect();
    services.replay(&session(), Pace::Max).await;
    let listed = get(format!("{url}/v1/topics?limit=4096")).await;
    let market = |topic: &&Value| {
        ["books.", "trades."]
            .iter()
            .any(|kind| topic["topic"].as_str().is_some_and(|name| name.starts_with(kind)))
    };
    let market = json!({"topics": listed["topics"].as_array().expect("topics").iter().filter(market).collect::<Vec<_>>()});
    told.send_replace(Some(market.clone()));
    let mut trades = Vec::new();
    for reader in readers {
        let client = reader.await.expect("a client");
        assert_eq!(client.events.len(), 0, "{:?}", client.events);
        check_books(&client, &marketdata).await;
        for topic in market["topics"].as_array().expect("topics") {
            let name = topic["topic"].as_str().expect("a name");
            assert!(client.topics[name].seq >= topic["seq"].as_u64().expect("a number"), "{name}");
        }
        let mut heard: Vec<_> =
            client.topics.iter().filter(|(name, _)| name.starts_with("trades.")).collect();
        heard.sort_by_key(|(name, _)| name.as_str());
        // A trade may come twice, in a snapshot and in the update that overlaps it.
        let heard: Vec<_> = heard
            .into_iter()
            .map(|(_, topic)| topic.trades.iter().collect::<std::collections::BTreeSet<_>>().len())
            .collect();
        trades.push(heard);
    }
    assert!(trades.iter().all(|heard| *heard == trades[0] && heard.iter().sum::<usize>() > 0), "{trades:?}");
    services.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_goes_on_where_it_was() {
    let services = Services::start(
        "engines.websocket.behind_max = 100000\nengines.websocket.history_bytes = 67108864\n\
        engines.websocket.history_updates = 100000",
    )
    .await;
    let (url, marketdata) = (services.websocket.running.url(), services.marketdata.running.url());
    let session = session();
    for conflate_ms in [0, 50] {
        let mut first = Client::subscribed(&url, &["books.*"], conflate_ms).await;
        let ended = AtomicBool::new(false);
        let replay = async {
            services.replay(&session, Pace::Max).await;
            ended.store(true, Relaxed);
        };
        let ((), mut second) = tokio::join!(replay, async {
            let heard = |client: &Client| client.topics.values().map(|topic| topic.updates).sum::<u64>();
            // A fast machine may be through before; then all of the rest is resumed. Heartbeats keep this going.
            while heard(&first) < 5 && (first.topics.is_empty() || !ended.load(Relaxed)) {
                assert!(first.take().await);
            }
            let topics = std::mem::take(&mut first.topics);
            drop(first);
            // Some time without a connection, in which the session goes on.
            let read = || services.websocket.engine.progress().star_read.load(Relaxed);
            let before = read();
            eventually("the session goes on", || read() > before || ended.load(Relaxed)).await;
            let count = topics.len() as u64;
            let mut second = Client::resumed(&url, topics, conflate_ms).await;
            while second.events.values().sum::<u64>() < count {
                assert!(second.take().await);
            }
            assert_eq!(second.events.get("resumed"), Some(&count), "{:?}", second.events);
            second
        });
        second.catch_up(&get(format!("{url}/v1/topics?limit=4096")).await).await;
        check_books(&second, &marketdata).await;
        assert!(second.topics.values().all(|topic| topic.snapshots == 1), "no fresh snapshot was needed");
    }
    services.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_only_pages_of_this_machine_may_connect() {
    let services = Services::start("").await;
    let url = services.websocket.running.url().replace("http://", "ws://") + "/ws";
    for (origin, code) in [
        ("http://localhost:8001", None),
        ("https://evil.example", Some("origin_not_local")),
        ("null", Some("origin_not_local")),
    ] {
        let mut request = url.as_str().into_client_request().expect("a request");
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
        match (tokio_tungstenite::connect_async(request).await, code) {
            (Ok(_), None) => {}
            (Err(Error::Http(response)), Some(code)) => {
                let body = response.body().as_deref().expect("a body");
                let problem: Value = serde_json::from_slice(body).expect("JSON");
                assert_eq!((response.status().as_u16(), &problem["code"]), (403, &json!(code)), "{origin}");
            }
            (other, _) => panic!("{origin}: {other:?}"),
        }
    }
    services.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye_to_everybody() {
    let services = Services::start("http.drain_timeout_ms = 60000").await;
    let url = services.websocket.running.url();
    let mut client = Client::subscribed(&url, &["system.*"], 0).await;
    let listed = get(format!("{url}/v1/connections")).await;
    let connection = &listed["connections"][0];
    assert_eq!((&connection["id"], &connection["subscriptions"]), (&json!(1), &json!(1)));
    assert!(
        connection["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{listed}"
    );
    // Engines say once a second how they are.
    while client.topics.len() < 3 {
        assert!(client.take().await);
    }
    let metrics = tokio::task::spawn_blocking({
        let url = url.clone();
        move || {
            ureq::get(format!("{url}/metrics"))
                .call()
                .expect("it answers")
                .body_mut()
                .read_to_string()
                .expect("text")
        }
    });
    let metrics = metrics.await.expect("metrics");
    assert!(metrics.contains("nautilus_websocket_active_connections{service=\"websocket\"} "), "{metrics}");
    let stopped = tokio::time::timeout(PATIENCE, services.stop());
    let said = async {
        while client.take().await {}
        client.close.map(|frame| u16::from(frame.code))
    };
    let (stopped, said) = tokio::join!(stopped, said);
    assert!(stopped.is_ok(), "the stop waits for nobody for ever");
    assert_eq!(said, Some(1001));
}
