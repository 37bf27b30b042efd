//! The service as a process of its own: hub of a star over a real Redis, also after it was killed.

use std::time::{Duration, Instant};

use nautilus_bus::{Next, RedisStar, Star};
use nautilus_testkit::{RedisServer, ServiceProcess};

const ANY_PORT: (&str, &str) = ("NAUTILUS__SERVICES__MARKETDATA__LISTEN", "127.0.0.1:0");
const TRADES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/trades.csv");

fn start(settings: &[(&str, &str)]) -> ServiceProcess {
    ServiceProcess::start(env!("CARGO_BIN_EXE_nautilus-marketdata"), settings)
}

fn replay(service: &ServiceProcess) {
    let body = format!("{{\"path\":{TRADES:?}}}");
    let url = format!("{}/v1/replays", service.url());
    let answer = ureq::post(url).content_type("application/json").send(body).expect("the replay starts");
    assert_eq!(answer.status().as_u16(), 202);
}

#[test]
fn it_serves_and_drains_by_itself() {
    let mut service = start(&[ANY_PORT]);
    for path in ["/health/live", "/health/ready", "/v1/instruments", "/openapi.json", "/metrics"] {
        let answer = ureq::get(format!("{}{path}", service.url())).call().expect(path);
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
    assert_eq!(service.interrupt(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_killed_goes_on_in_a_new_epoch() {
    let redis = RedisServer::start();
    let settings = [
        ANY_PORT,
        ("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis"),
        ("NAUTILUS__BUS__MARKET_DATA__URL", &redis.url()),
    ];
    let star = RedisStar { url: redis.url().into(), ..RedisStar::default() };
    let star = Star::redis(star, "test").await.expect("Redis answers");
    let mut reader = star.reader();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let service = start(&settings);
        replay(&service);
        let (mut frames, deadline) = (0, Instant::now() + Duration::from_secs(20));
        // 200 trades and a definition at the least.
        while frames < 201 {
            assert!(Instant::now() < deadline, "only {frames} frames came");
            match reader.next() {
                Some(Next::Frame(_)) => frames += 1,
                Some(Next::Lost { .. }) => {}
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        epochs.push(reader.epoch());
        drop(service); // By SIGKILL.
    }
    assert!(epochs[0] < epochs[1], "{epochs:?}");
}
