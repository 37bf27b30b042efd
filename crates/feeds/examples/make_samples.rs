//! Makes the files of `samples/` anew: `cargo run --release -p nautilus-feeds --example make_samples -- samples`.
//!
//! It decides what the samples hold: one simulated session, its first trades and its bars as CSV. It uses no
//! recorded data.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use nautilus_feeds::{Feed, Read, Registry, Simulator, SimulatorConfig, write_dbn};
use nautilus_messages::frame::{FrameRef, Frames, Trade, WireSide};
use nautilus_types::{Money, NANOS_PER_SECOND, Quantity, format_nanos};

const TRADES: usize = 200;
const MINUTE_NS: u64 = 60 * NANOS_PER_SECOND;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write to, for example samples")?;
    let folder = Path::new(&folder);
    let session = folder.join("simulated-session.mbo.dbn.zst");
    let mut simulator = Simulator::new(SimulatorConfig::sample(), &Registry::new())?;
    let written = write_dbn(&session, &mut simulator)?;
    drop(simulator);
    let trades = trades_of_first_instrument()?;
    std::fs::write(folder.join("trades.csv"), trades_csv(&trades[..TRADES])?)?;
    std::fs::write(folder.join("bars.csv"), bars_csv(&trades)?)?;
    let size = std::fs::metadata(&session)?.len();
    println!("{} records in {size} bytes, {} trades of SIM01", written.records, trades.len());
    Ok(())
}

fn trades_of_first_instrument() -> Result<Vec<Trade>, Box<dyn Error>> {
    let mut simulator = Simulator::new(SimulatorConfig::sample(), &Registry::new())?;
    let (mut trades, mut frames) = (Vec::new(), Vec::new());
    while simulator.read(4_096, &mut frames)? == Read::Frames {
        for frame in Frames::new(&frames) {
            match frame? {
                FrameRef::Trade(trade) if trade.header.instrument().0 == 1 => trades.push(*trade),
                _ => {}
            }
        }
        frames.clear();
    }
    Ok(trades)
}

fn trades_csv(trades: &[Trade]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("ts_ns,symbol,price,quantity,side\n");
    for trade in trades {
        let side = if trade.aggressor == WireSide::Buy { "B" } else { "S" };
        writeln!(
            text,
            "{},SIM01,{:.2},{},{side}",
            trade.header.ts_event().0,
            trade.price(),
            trade.quantity()
        )?;
    }
    Ok(text)
}

fn bars_csv(trades: &[Trade]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("ts_ns,symbol,open,high,low,close,volume,interval_s\n");
    let minute = |trade: &Trade| trade.header.ts_event().floor(MINUTE_NS).0;
    for bar in trades.chunk_by(|a, b| minute(a) == minute(b)) {
        let prices = || bar.iter().map(|trade| trade.price_nanos.get());
        let (low, high) = (prices().min().unwrap_or_default(), prices().max().unwrap_or_default());
        let (open, close) = (bar[0].price_nanos.get(), bar[bar.len() - 1].price_nanos.get());
        let volume: i128 = bar
            .iter()
            .map(|trade| Money::from(Quantity::from_nanos(trade.quantity_nanos.get())).nanos())
            .sum();
        let [open, high, low, close] =
            [open, high, low, close].map(|price| format_nanos(i128::from(price), 2));
        writeln!(
            text,
            "{},SIM01,{open},{high},{low},{close},{},60",
            minute(&bar[0]),
            format_nanos(volume, 0)
        )?;
    }
    Ok(text)
}
