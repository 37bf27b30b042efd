//! What each DBN record means in frames.
//!
//! It decides the translation, one record at a time, and counts what no frame could carry. It keeps no book: the
//! last ten levels per side are remembered only to tell what changed.

use std::collections::HashMap;

use dbn::{
    BidAskPair, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, OhlcvMsg, RecordRef, StatusMsg,
    SymbolMappingMsg, TradeMsg, UNDEF_PRICE, UNDEF_TIMESTAMP, rtype,
};
use nautilus_messages::frame::{OrderAction, SnapshotPhase, TradingState, WireSide, flags};
use nautilus_types::{InstrumentId, NANOS_PER_SECOND, SCALE, UnixNanos};

use super::symbols::Symbols;
use crate::FeedError;
use crate::frames::{RecordedBar, Stamp};

type Levels = [BidAskPair; 10];

/// Translates the records of one recording.
pub(super) struct Translator {
    symbols: Symbols,
    levels: HashMap<InstrumentId, Box<Levels>>,
    /// The data set's schema is trades with the quote before them: the quote is history then.
    tbbo: bool,
    base_flags: u16,
    skipped: u64,
    ts_event: UnixNanos,
}

impl Translator {
    pub(super) fn new(symbols: Symbols, tbbo: bool) -> Self {
        let simulated = if symbols.simulated() { flags::SIMULATED } else { 0 };
        Self {
            symbols,
            levels: HashMap::new(),
            tbbo,
            base_flags: flags::REPLAY | simulated,
            skipped: 0,
            ts_event: UnixNanos(0),
        }
    }

    pub(super) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn ts_event(&self) -> UnixNanos {
        self.ts_event
    }

    /// Appends the record's frames.
    #[inline]
    pub(super) fn translate(&mut self, record: RecordRef<'_>, out: &mut Vec<u8>) -> Result<(), FeedError> {
        let before = out.len();
        let carried = match record.header().rtype {
            rtype::MBO => match record.try_get() {
                Ok(record) => self.order(record, out)?,
                Err(_) => false,
            },
            _ => self.translate_other(record, out)?,
        };
        debug_assert_eq!(carried, out.len() > before, "a record is skipped or leaves a frame");
        self.skipped += u64::from(!carried);
        Ok(())
    }

    /// A record shorter than its kind fails `try_get` and is skipped: it cannot be trusted in any field.
    fn translate_other(&mut self, record: RecordRef<'_>, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        macro_rules! with {
            ($method:ident $(, $argument:expr)*) => {
                match record.try_get() {
                    Ok(record) => self.$method(record $(, $argument)*, out),
                    Err(_) => Ok(false),
                }
            };
        }
        match record.header().rtype {
            rtype::MBP_0 => with!(trade),
            rtype::MBP_1 => with!(top_of_book),
            rtype::MBP_10 => with!(ten_levels),
            rtype::OHLCV_1S => with!(bar, 1),
            rtype::OHLCV_1M => with!(bar, 60),
            rtype::OHLCV_1H => with!(bar, 3_600),
            rtype::OHLCV_1D => with!(bar, 86_400),
            rtype::INSTRUMENT_DEF => with!(definition),
            rtype::STATUS => with!(status),
            rtype::SYMBOL_MAPPING => {
                if let Ok(record) = record.try_get::<SymbolMappingMsg>() {
                    self.symbols.apply_mapping(
                        record.hd.instrument_id,
                        record.stype_out_symbol().unwrap_or_default(),
                    );
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// The stamp of a record, or none where it has no time at all. The instrument is still to be filled in.
    #[inline]
    fn stamp(&mut self, ts_event: u64, ts_recv: u64, sequence: u32, venue_flags: u8) -> Option<Stamp> {
        let ts_event = if ts_event == UNDEF_TIMESTAMP { ts_recv } else { ts_event };
        if ts_event == UNDEF_TIMESTAMP {
            return None;
        }
        let ts_recv = if ts_recv == UNDEF_TIMESTAMP { ts_event } else { ts_recv };
        self.ts_event = UnixNanos(ts_event);
        let flag = |theirs: u8, ours: u16| if venue_flags & theirs == 0 { 0 } else { ours };
        Some(Stamp {
            instrument: InstrumentId::NONE,
            sequence: u64::from(sequence),
            ts_event: UnixNanos(ts_event),
            ts_recv: UnixNanos(ts_recv),
            flags: self.base_flags
                | flag(dbn::flags::LAST, flags::LAST)
                | flag(dbn::flags::SNAPSHOT, flags::SNAPSHOT)
                | flag(dbn::flags::MAYBE_BAD_BOOK, flags::MAYBE_BAD),
        })
    }

    #[inline]
    fn order(&mut self, record: &MboMsg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let side = side_of(record.side);
        let quantity = i64::from(record.size) * SCALE;
        let action = match letter(record.action) {
            b'A' if record.price != UNDEF_PRICE => OrderAction::Add,
            b'C' => OrderAction::Cancel,
            b'M' if record.price != UNDEF_PRICE => OrderAction::Modify,
            b'F' => OrderAction::Fill,
            b'R' => OrderAction::Clear,
            b'T' if is_trade(record.price, record.size) => OrderAction::Fill,
            _ => return Ok(false),
        };
        let is_print = letter(record.action) == b'T';
        if side == WireSide::None && action != OrderAction::Clear && !is_print {
            return Ok(false);
        }
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, record.sequence, record.flags.raw());
        let Some(mut stamp) = sent else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        if is_print {
            stamp.trade(record.price, quantity, side, out);
        } else if action == OrderAction::Clear {
            stamp.order(action, WireSide::None, 0, (0, 0), out);
        } else {
            stamp.order(action, side, record.order_id, (record.price, quantity), out);
        }
        Ok(true)
    }

    fn trade(&mut self, record: &TradeMsg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        if !is_trade(record.price, record.size) {
            return Ok(false);
        }
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, record.sequence, record.flags.raw());
        let Some(mut stamp) = sent else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        stamp.trade(record.price, i64::from(record.size) * SCALE, side_of(record.side), out);
        Ok(true)
    }

    fn top_of_book(&mut self, record: &Mbp1Msg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let trades = letter(record.action) == b'T' && is_trade(record.price, record.size);
        if self.tbbo && !trades {
            return Ok(false);
        }
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, record.sequence, record.flags.raw());
        let Some(mut stamp) = sent else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        if trades {
            let trade = if self.tbbo { stamp } else { stamp.not_last() };
            trade.trade(record.price, i64::from(record.size) * SCALE, side_of(record.side), out);
        }
        if !self.tbbo {
            let [top] = &record.levels;
            stamp.quote(total(top.bid_px, top.bid_sz), total(top.ask_px, top.ask_sz), out);
        }
        Ok(true)
    }

    /// The levels of an instrument's first record are a snapshot, later ones are told by their difference. A level
    /// pushed out of the ten is removed, for nothing more will be heard of it.
    fn ten_levels(&mut self, record: &Mbp10Msg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, record.sequence, record.flags.raw());
        let Some(mut stamp) = sent else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        if letter(record.action) == b'T' && is_trade(record.price, record.size) {
            let trade = stamp.not_last();
            trade.trade(record.price, i64::from(record.size) * SCALE, side_of(record.side), out);
        }
        match self.levels.get_mut(&stamp.instrument) {
            Some(levels) => {
                append_difference(levels, &record.levels, &stamp, out);
                **levels = record.levels.clone();
            }
            None => {
                append_snapshot(&record.levels, &stamp, out);
                self.levels.insert(stamp.instrument, Box::new(record.levels.clone()));
            }
        }
        Ok(true)
    }

    /// DBN stamps a bar with its opening.
    fn bar(&mut self, record: &OhlcvMsg, seconds: u64, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let interval_ns = seconds * NANOS_PER_SECOND;
        let volume = i64::try_from(record.volume).ok().and_then(|volume| volume.checked_mul(SCALE));
        let (Some(volume), Some(ts_close)) = (volume, record.hd.ts_event.checked_add(interval_ns)) else {
            return Ok(false);
        };
        let bar = RecordedBar {
            open: record.open,
            high: record.high,
            low: record.low,
            close: record.close,
            volume,
            ts_open: record.hd.ts_event,
            interval_ns,
        };
        let sent = self.stamp(ts_close, ts_close, 0, dbn::flags::LAST);
        let (Some(mut stamp), true) = (sent, bar.is_consistent()) else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        stamp.bar(&bar, out);
        Ok(true)
    }

    fn definition(&mut self, record: &InstrumentDefMsg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let deleted = letter(record.security_update_action) == b'D';
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, 0, dbn::flags::LAST);
        let (Some(stamp), false) = (sent, deleted) else { return Ok(false) };
        self.symbols.apply_definition(record, &stamp, out)?;
        Ok(true)
    }

    fn status(&mut self, record: &StatusMsg, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let sent = self.stamp(record.hd.ts_event, record.ts_recv, 0, dbn::flags::LAST);
        let (Some(mut stamp), Some(state)) = (sent, trading_state(record)) else { return Ok(false) };
        stamp.instrument = self.symbols.resolve(record.hd.instrument_id, &stamp, out)?;
        stamp.status(state, out);
        Ok(true)
    }
}

/// A C character's sign depends on the machine.
#[inline]
fn letter(c: std::ffi::c_char) -> u8 {
    let [byte] = c.to_ne_bytes();
    byte
}

#[inline]
fn side_of(side: std::ffi::c_char) -> WireSide {
    match letter(side) {
        b'B' => WireSide::Buy,
        b'A' => WireSide::Sell,
        _ => WireSide::None,
    }
}

#[inline]
fn is_trade(price: i64, size: u32) -> bool {
    price != UNDEF_PRICE && size > 0
}

/// A level as price and total; an absent one has no quantity whatever the record says.
fn total(price: i64, size: u32) -> (i64, i64) {
    if price == UNDEF_PRICE { (price, 0) } else { (price, i64::from(size) * SCALE) }
}

/// A change without an effect on trading (short-selling rules, for example) is no status.
fn trading_state(record: &StatusMsg) -> Option<TradingState> {
    use dbn::StatusAction as Theirs;
    Some(match record.action().ok()? {
        Theirs::PreOpen
        | Theirs::PreCross
        | Theirs::Quoting
        | Theirs::Cross
        | Theirs::Rotation
        | Theirs::NewPriceIndication => TradingState::PreOpen,
        Theirs::Trading => TradingState::Open,
        Theirs::PreClose if record.is_trading() == Some(true) => TradingState::Open,
        Theirs::Halt | Theirs::Pause | Theirs::Suspend => TradingState::Halted,
        Theirs::PreClose | Theirs::Close | Theirs::PostClose | Theirs::NotAvailableForTrading => {
            TradingState::Closed
        }
        _ => return None,
    })
}

type Level = (WireSide, i64, u32, u32);

/// The levels that are there, both sides, best first.
fn present(levels: &Levels) -> impl Iterator<Item = Level> {
    let bids = levels.iter().map(|level| (WireSide::Buy, level.bid_px, level.bid_sz, level.bid_ct));
    let asks = levels.iter().map(|level| (WireSide::Sell, level.ask_px, level.ask_sz, level.ask_ct));
    bids.chain(asks).filter(|&(_, price, size, _)| price != UNDEF_PRICE && size > 0)
}

fn append_level((side, price, size, orders): Level, stamp: &Stamp, out: &mut Vec<u8>) {
    stamp.level(side, price, i64::from(size) * SCALE, orders, out);
}

fn append_snapshot(levels: &Levels, stamp: &Stamp, out: &mut Vec<u8>) {
    let inner = Stamp { flags: stamp.flags | flags::SNAPSHOT, ..*stamp }.not_last();
    let count = u32::try_from(present(levels).count()).expect("twenty at most");
    inner.snapshot(SnapshotPhase::Begin, count, out);
    for level in present(levels) {
        append_level(level, &inner, out);
    }
    Stamp { flags: inner.flags | flags::LAST, ..inner }.snapshot(SnapshotPhase::End, count, out);
}

/// Removals first, so that the book is never crossed half-way. A record that changes nothing repeats its best level,
/// so that the end of the event is not lost.
fn append_difference(before: &Levels, after: &Levels, stamp: &Stamp, out: &mut Vec<u8>) {
    let stays = |(side, price, ..): Level| present(after).any(|(s, p, ..)| (s, p) == (side, price));
    let removed = present(before).filter(|&level| !stays(level)).map(|(side, price, ..)| (side, price, 0, 0));
    let changed = present(after).filter(|&level| present(before).all(|known| known != level));
    let mut changes: Vec<Level> = removed.chain(changed).collect();
    if changes.is_empty() {
        changes.extend(present(after).next());
    }
    let inner = stamp.not_last();
    for (i, &change) in changes.iter().enumerate() {
        append_level(change, if i + 1 == changes.len() { stamp } else { &inner }, out);
    }
}
