//! How long the whole platform takes to replay the session: file, star, both engines and the store, as the launcher does.
//!
//! Local and Redis buses take turns and must end with the same digests. Starting the platform does not count.

mod platform;
mod session;

use std::path::Path;
use std::time::Instant;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit};
use nautilus_testkit::RedisServer;

use platform::Engines;

const ROUNDS: usize = 9;

/// What a replay ends with: equal for all buses.
#[derive(Debug, PartialEq)]
struct Outcome {
    records: u64,
    stored_rows: u64,
    digests: [u64; 2],
}

/// Seconds of one replay, and what it ended with.
async fn replay(file: &Path, redis: Option<&[RedisServer; 2]>) -> (f64, Outcome) {
    let engines = Engines::start(redis).await;
    let start = Instant::now();
    let records = engines.replay(file).await;
    let seconds = start.elapsed().as_secs_f64();
    let digests = engines.digests().await;
    let stored = [&engines.marketdata.store, &engines.vpin.store].map(|store| store.health().written_rows);
    engines.stop().await;
    (seconds, Outcome { records, stored_rows: stored.iter().sum(), digests })
}

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("replay") else { return };
    let (file, name) = session::path();
    let (mut local, mut redis) = (Figures::default(), Figures::default());
    let (_, expected) = replay(&file, None).await;
    for _ in 0..ROUNDS {
        let (seconds, outcome) = replay(&file, None).await;
        assert_eq!(outcome, expected, "two replays differ");
        local.push(seconds);
        // Servers of their own, since readers begin with what a stream holds.
        let servers = [RedisServer::start_volatile(), RedisServer::start()];
        let (seconds, outcome) = replay(&file, Some(&servers)).await;
        assert_eq!(outcome, expected, "the buses differ");
        redis.push(seconds);
    }
    let goal = Goal::AtMost(2.0);
    report.row("replay, local buses", Unit::Seconds, &local, Peer::Here("the same over Redis", &redis), goal);
    report.row("replay, Redis buses", Unit::Seconds, &redis, Peer::None, goal);
    let Outcome { records, stored_rows, digests: [marketdata, vpin] } = expected;
    report.note(&format!(
        "{name}: {records} records, {stored_rows} rows stored in SQLite; every replay ended with the digests \
         {marketdata:016x} and {vpin:016x}."
    ));
}
