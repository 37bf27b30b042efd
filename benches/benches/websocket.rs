//! Fan-out to many WebSocket clients, beside a Node `ws` server and a Python `websockets` server that do the same.
//!
//! Same client, same messages, same offered rate, in turns; server and client share the machine. A delivery is one
//! event read by one client. The peers need `npm install` in `peers/websocket` and a Python with `websockets`
//! (`PYTHON` names it); a peer that is not there is said to be missing and left out.

#[path = "fan_out/client.rs"]
mod client;
#[path = "fan_out/ours.rs"]
mod ours;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};

const CLIENTS: usize = 1_000;
/// Events a second: 120,000 deliveries to all clients.
const RATE: f64 = 120.0;
const MEASURE: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
/// Names the events a second that a copy of this program is to serve.
const SERVE: &str = "NAUTILUS_BENCH_SERVE";
/// Set where that copy is to publish the bulk as well.
const BULK: &str = "NAUTILUS_BENCH_BULK";

#[derive(Clone, Copy, PartialEq)]
enum Contestant {
    Ours,
    /// With many events of another topic, which only a client that never reads subscribes to.
    OursWithBulk,
    Node,
    Python,
}

/// A contestant's server; killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// None when the peer is not installed.
    fn start(contestant: Contestant, rate: f64) -> Option<Self> {
        let mut command = contestant.command(rate)?;
        let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("text");
        let Ok(port) = line.trim().parse::<u16>() else {
            let _ = child.wait();
            return None;
        };
        Some(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Contestant {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours | Self::OursWithBulk => "ours",
            Self::Node => "Node ws",
            Self::Python => "Python websockets",
        }
    }

    fn command(self, rate: f64) -> Option<Command> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/websocket");
        let mut command = match self {
            Self::Ours | Self::OursWithBulk => {
                let mut command = Command::new(std::env::current_exe().ok()?);
                command.env(SERVE, rate.to_string());
                if self == Self::OursWithBulk {
                    command.env(BULK, "1");
                }
                return Some(command);
            }
            Self::Node => Command::new("node"),
            Self::Python => Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into())),
        };
        let file: PathBuf = peers.join(if self == Self::Node { "server.mjs" } else { "server.py" });
        command.arg(file).arg(rate.to_string());
        Some(command)
    }
}

/// One run's figures.
#[derive(Clone, Copy)]
struct Run {
    deliveries_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn run(contestant: Contestant, rate: f64, clients: usize, stalled: usize) -> Option<Run> {
    let server = Server::start(contestant, rate)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut seen = runtime.block_on(client::run(server.address, clients, stalled, MEASURE));
    Some(Run {
        deliveries_per_second: seen.deliveries as f64 / seen.seconds,
        p50_us: percentile(&mut seen.latencies_us, 0.5),
        p99_us: percentile(&mut seen.latencies_us, 0.99),
    })
}

/// What the rounds of one case gave.
#[derive(Default)]
struct Case {
    deliveries: Figures,
    p50: Figures,
    p99: Figures,
}

impl Case {
    fn push(&mut self, run: Run) {
        self.deliveries.push(run.deliveries_per_second / 1e6);
        self.p50.push(run.p50_us);
        self.p99.push(run.p99_us);
    }
}

fn main() {
    if let Ok(rate) = std::env::var(SERVE) {
        let rate = rate.parse().expect("a rate");
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(ours::serve(rate, std::env::var_os(BULK).is_some()));
        return;
    }
    let Some(mut report) = Report::begin("websocket") else { return };
    let peers: Vec<Contestant> = [Contestant::Node, Contestant::Python]
        .into_iter()
        .filter(|peer| {
            let there = Server::start(*peer, 1.0).is_some();
            if !there {
                report.note(&format!("{} is not installed here and was left out.", peer.name()));
            }
            there
        })
        .collect();
    let [mut ours, mut bulk, mut stalled, mut single]: [Case; 4] = Default::default();
    let mut theirs: Vec<Case> = peers.iter().map(|_| Case::default()).collect();
    for _ in 0..ROUNDS {
        ours.push(run(Contestant::Ours, RATE, CLIENTS, 0).expect("ours starts"));
        bulk.push(run(Contestant::OursWithBulk, RATE, CLIENTS - 1, 0).expect("ours starts"));
        stalled.push(run(Contestant::OursWithBulk, RATE, CLIENTS - 1, 1).expect("ours starts"));
        single.push(run(Contestant::Ours, RATE, 1, 0).expect("ours starts"));
        for (peer, case) in peers.iter().zip(&mut theirs) {
            case.push(run(*peer, RATE, CLIENTS, 0).expect("it started before"));
        }
    }
    let what = format!("{CLIENTS} clients, {RATE} events/s");
    for (peer, case) in peers.iter().zip(&theirs) {
        let name = peer.name();
        let deliveries = Peer::Here(name, &case.deliveries);
        let goal = Goal::AtLeast(0.1);
        report.row(
            &format!("deliveries, {what}"),
            Unit::MillionsPerSecond,
            &ours.deliveries,
            deliveries,
            goal,
        );
        report.row(
            &format!("event to frame read, {what}, p50"),
            Unit::Microseconds,
            &ours.p50,
            Peer::Here(name, &case.p50),
            Goal::None,
        );
        report.row(
            &format!("event to frame read, {what}, p99"),
            Unit::Microseconds,
            &ours.p99,
            Peer::Here(name, &case.p99),
            Goal::AtMost(20_000.0),
        );
    }
    report.row(
        "the same with one client that never reads, p99",
        Unit::Microseconds,
        &stalled.p99,
        Peer::Here("all reading", &bulk.p99),
        Goal::Within(1.1),
    );
    report.row(
        "star event to frame read, one client, p50",
        Unit::Microseconds,
        &single.p50,
        Peer::None,
        Goal::AtMost(150.0),
    );
    report.row(
        "star event to frame read, one client, p99",
        Unit::Microseconds,
        &single.p99,
        Peer::None,
        Goal::None,
    );
}
