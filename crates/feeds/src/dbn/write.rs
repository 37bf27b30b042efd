//! Writes a feed as an order-by-order DBN recording (version 3, zstd), so that data sets can be made from simulations.
//!
//! It writes orders and trades only. What DBN's order records cannot hold is left out and counted: definitions
//! (the name survives in the header; tick, lot, multiplier, currency and class do not) and changes of trading
//! state. What does not fit, such as fractions of a unit, is refused.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroU64;
use std::path::Path;

use dbn::encode::{DbnEncoder, DynWriter, EncodeRecord};
use dbn::{
    DBN_VERSION, FlagSet, MappingInterval, MboMsg, Metadata, RecordHeader, SType, Schema, SymbolMapping,
    UNDEF_PRICE, rtype,
};
use nautilus_messages::frame::{FrameRef, Frames, Header, OrderAction, WireSide, flags};
use nautilus_types::{SCALE, Symbol};

use super::symbols::SIMULATED_VENUE;
use crate::{Feed, FeedError, Read};

const BATCH: usize = 4_096;
/// Written once, read and sent often: worth zstd's last level below the memory-hungry ones.
const COMPRESSION_LEVEL: i32 = 19;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Records in the file.
    pub records: u64,
    /// Frames that the file cannot hold: definitions and changes of trading state.
    pub left_out: u64,
}

/// Reads a simulation to its end and writes it to `path` as `.dbn.zst`. The file appears whole or not at all.
///
/// # Errors
/// When the feed fails, holds something an order record cannot carry, or the file cannot be written.
pub fn write_dbn(path: &Path, feed: &mut dyn Feed) -> Result<Written, FeedError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let outcome = write_whole(path, partial, feed);
    if outcome.is_err() {
        // The fault that stopped the writing is told; a leftover that cannot be removed either is not news.
        let _ = std::fs::remove_file(partial);
    }
    outcome
}

fn write_whole(path: &Path, partial: &Path, feed: &mut dyn Feed) -> Result<Written, FeedError> {
    let fail = |error: std::io::Error| FeedError::io(path, "write", &error);
    let refuse = |reason: String| FeedError::Unwritable { path: path.to_owned(), reason };
    let told = |error: dbn::Error| FeedError::Unwritable { path: path.to_owned(), reason: error.to_string() };
    let mut frames = Vec::new();
    if feed.read(BATCH, &mut frames)? == Read::End {
        return Err(refuse("the feed holds nothing".into()));
    }
    let metadata = metadata_of(&frames).map_err(refuse)?;
    let mut file = BufWriter::new(File::create(partial).map_err(fail)?);
    let mut packed = DynWriter::with_compression_level(&mut file, COMPRESSION_LEVEL).map_err(told)?;
    let mut encoder = DbnEncoder::new(&mut packed, &metadata).map_err(told)?;
    let mut written = Written { records: 0, left_out: 0 };
    loop {
        for frame in Frames::new(&frames) {
            match record_of(frame.map_err(|error| refuse(error.to_string()))?).map_err(refuse)? {
                Some(record) => {
                    encoder.encode_record(&record).map_err(told)?;
                    written.records += 1;
                }
                None => written.left_out += 1,
            }
        }
        frames.clear();
        if feed.read(BATCH, &mut frames)? == Read::End {
            break;
        }
    }
    packed.finish().map_err(told)?;
    drop(packed);
    file.flush().map_err(fail)?;
    std::fs::rename(partial, path).map_err(fail)?;
    Ok(written)
}

/// The header: a feed's definitions come first, so the first batch names every instrument.
fn metadata_of(frames: &[u8]) -> Result<Metadata, String> {
    let mut named: Vec<(Symbol, u32)> = Vec::new();
    let mut start = 0;
    for frame in Frames::new(frames) {
        let FrameRef::Definition(definition) = frame.map_err(|error| error.to_string())? else { break };
        let instrument = definition.instrument().map_err(|error| error.to_string())?;
        start = definition.header.ts_event_ns.get();
        named.push((instrument.symbol, definition.header.instrument.get()));
    }
    let metadata = Metadata::builder()
        .version(DBN_VERSION)
        .dataset(format!("{SIMULATED_VENUE}.MBO"))
        .schema(Some(Schema::Mbo))
        .start(start)
        .end(None::<NonZeroU64>)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let first_day = metadata.start().date();
    // The header knows whole days only; ids never change, so one interval up to the calendar's end serves.
    let last_day = first_day.replace_year(9_999).map_err(|error| error.to_string())?;
    let mapping = |&(symbol, number): &(Symbol, u32)| SymbolMapping {
        raw_symbol: symbol.to_string(),
        intervals: vec![MappingInterval {
            start_date: first_day,
            end_date: last_day,
            symbol: number.to_string(),
        }],
    };
    let symbols = named.iter().map(|(symbol, _)| symbol.to_string()).collect();
    Ok(Metadata { mappings: named.iter().map(mapping).collect(), symbols, ..metadata })
}

fn record_of(frame: FrameRef<'_>) -> Result<Option<MboMsg>, String> {
    Ok(Some(match frame {
        FrameRef::Trade(trade) => {
            let (price, quantity) = (trade.price_nanos.get(), trade.quantity_nanos.get());
            record(&trade.header, (b'T', trade.aggressor), 0, price, quantity)?
        }
        FrameRef::OrderChange(change) if change.action == OrderAction::Clear => {
            record(&change.header, (b'R', WireSide::None), 0, UNDEF_PRICE, 0)?
        }
        FrameRef::OrderChange(change) => {
            let action = match change.action {
                OrderAction::Add => b'A',
                OrderAction::Cancel => b'C',
                OrderAction::Modify => b'M',
                OrderAction::Fill => b'F',
                OrderAction::Clear => b'R',
            };
            let (price, quantity) = (change.price_nanos.get(), change.quantity_nanos.get());
            record(&change.header, (action, change.side), change.order_id.get(), price, quantity)?
        }
        FrameRef::Definition(_) | FrameRef::Status(_) => return Ok(None),
        other => return Err(format!("a {} frame has no order record", other.header().kind.as_str())),
    }))
}

fn record(
    header: &Header,
    (action, side): (u8, WireSide),
    order_id: u64,
    price: i64,
    quantity: i64,
) -> Result<MboMsg, String> {
    let whole = (quantity % SCALE == 0).then_some(quantity / SCALE);
    let size = whole
        .and_then(|units| u32::try_from(units).ok())
        .ok_or_else(|| format!("a quantity of {quantity} billionths is not a whole number of units"))?;
    let sequence = u32::try_from(header.sequence.get())
        .map_err(|_| "more than 4,294,967,295 messages of one instrument".to_owned())?;
    let raw = |ours: u16, theirs: u8| if header.has(ours) { theirs } else { 0 };
    let bits = raw(flags::LAST, dbn::flags::LAST)
        | raw(flags::SNAPSHOT, dbn::flags::SNAPSHOT)
        | raw(flags::MAYBE_BAD, dbn::flags::MAYBE_BAD_BOOK);
    let side = match side {
        WireSide::Buy => b'B',
        WireSide::Sell => b'A',
        WireSide::None => b'N',
    };
    let letter = |byte: u8| std::ffi::c_char::from_ne_bytes([byte]);
    let ts_event = header.ts_event_ns.get();
    Ok(MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 0, header.instrument.get(), ts_event),
        order_id,
        price,
        size,
        flags: FlagSet::from(bits),
        channel_id: 0,
        action: letter(action),
        side: letter(side),
        ts_recv: header.ts_recv_ns.get(),
        // When the venue sent it is not known, only when it happened.
        ts_in_delta: 0,
        sequence,
    })
}
