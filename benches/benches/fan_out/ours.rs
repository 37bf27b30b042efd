//! Ours as a contestant: the websocket service on a local star, whose hub this process is.

use std::time::{Duration, Instant};

use nautilus_bus::StarPublisher;
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Header, Kind, Trade, WireSide, flags};
use nautilus_service::{Config, Platform};
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity, Side, UnixNanos};

use super::client::now_ns;

/// The instrument that is measured, and one that is there to fill the buffers of whoever subscribes to it.
const INSTRUMENTS: [(InstrumentId, &str); 2] = [(InstrumentId(1), "ESH4"), (InstrumentId(2), "BULK")];
/// Trades of the second for each of the first, where it is asked for.
const BULK: u64 = 200;

/// Serves on a free port, prints it, and publishes `rate` trades a second until the process is killed, with `bulk` many
/// more of another instrument.
pub(crate) async fn serve(rate: f64, bulk: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "store.url = \"sqlite://{}\"\nservices.websocket.listen = \"127.0.0.1:0\"\n\
         engines.websocket.stall_ms = 600000\n",
        folder.path().join("nautilus.db").display()
    );
    let config = Config::from_table(text.parse().expect("TOML")).expect("a legal configuration");
    let mut platform = Platform::new(config);
    let listener = platform.listen(EngineName::Websocket).await.expect("a free port");
    let connections = platform.connect(EngineName::Websocket).await.expect("the local buses");
    let publisher = connections.star.publisher(now_ns()).expect("the star has no hub yet");
    let service = nautilus_websocket::start(connections, listener).await.expect("the service starts");
    println!("{}", service.running.address.port());
    let hub = std::thread::spawn(move || publish(publisher, rate, bulk));
    tokio::task::spawn_blocking(move || hub.join()).await.expect("no panic").expect("the hub never ends");
}

/// The hub's thread: every trade at its own instant, those that are late at once.
fn publish(mut hub: StarPublisher, rate: f64, bulk: bool) {
    let [(measured, _), (other, _)] = INSTRUMENTS;
    for (instrument, symbol) in INSTRUMENTS {
        hub.publish(FrameRef::from(&definition(instrument, symbol)).as_bytes());
    }
    let start = Instant::now();
    let mut sequence = 1;
    loop {
        let due = start + Duration::from_secs_f64(sequence as f64 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sequence += 1;
        hub.publish(FrameRef::from(&trade(measured, sequence)).as_bytes());
        let before = if bulk { BULK * (sequence - 2) + 1 } else { continue };
        for number in 1..=BULK {
            hub.publish(FrameRef::from(&trade(other, before + number)).as_bytes());
        }
    }
}

fn header(kind: Kind, instrument: InstrumentId, sequence: u64) -> Header {
    let now = UnixNanos(now_ns());
    Header::new(kind, instrument, sequence, now, now).with_flags(flags::LAST | flags::CONTIGUOUS)
}

fn definition(instrument: InstrumentId, symbol: &str) -> Definition {
    let one = Quantity::from_units(1).expect("it fits");
    let instrument = Instrument {
        id: instrument,
        symbol: symbol.parse().expect("a symbol"),
        venue: "GLBX".parse().expect("a venue"),
        class: AssetClass::Future,
        currency: "USD".parse().expect("a currency"),
        tick: Price::from_nanos(250_000_000),
        lot: one,
        multiplier: one,
    };
    let header = header(Kind::Definition, instrument.id, 1);
    Definition { header, ..Definition::of(&instrument, 0) }
}

fn trade(instrument: InstrumentId, sequence: u64) -> Trade {
    Trade {
        header: header(Kind::Trade, instrument, sequence),
        price_nanos: 4_810_250_000_000.into(),
        quantity_nanos: 2_000_000_000.into(),
        trade_id: sequence.into(),
        aggressor: WireSide::from(Some(Side::Buy)),
        reserved: [0; 7],
    }
}
