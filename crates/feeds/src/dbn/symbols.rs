//! Maps the venue's instrument numbers to the platform's and sees that a definition comes first.
//!
//! It decides names and ids; it never looks at prices.

use std::collections::{HashMap, HashSet};

use dbn::{InstrumentClass, InstrumentDefMsg, Metadata, SType, UNDEF_PRICE, UNDEF_TIMESTAMP};
use nautilus_messages::frame::flags;
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity, SCALE, Symbol, Venue};

use crate::frames::{Stamp, unknown_instrument};
use crate::registry::{Lease, MAX_INSTRUMENTS};
use crate::{FeedError, Registry};

/// The data set's first part by which recordings of the simulator are known.
pub(super) const SIMULATED_VENUE: &str = "XSIM";

/// A name that holds from one instant to another, in nanoseconds.
struct Named {
    from: u64,
    to: u64,
    symbol: Symbol,
}

/// The instruments of one recording.
pub(super) struct Symbols {
    lease: Lease,
    venue: Venue,
    names: HashMap<u32, Vec<Named>>,
    defined: HashMap<u32, Instrument>,
    known: Vec<Symbol>,
    seen: HashSet<Symbol>,
    /// Instruments whose first definition was sent: that one says that the source starts over.
    started: HashSet<InstrumentId>,
    /// Most records speak of the instrument of the record before.
    last: Option<(u32, InstrumentId)>,
}

impl Symbols {
    /// Registers every symbol that the header names, so that a conflict with another feed shows at once.
    pub(super) fn new(metadata: &Metadata, registry: &Registry) -> Result<Self, FeedError> {
        let first_part = metadata.dataset.split('.').next().unwrap_or_default();
        let venue = first_part.parse().unwrap_or_else(|_| "UNKNOWN".parse().expect("a legal venue"));
        let mut symbols = Self {
            lease: Lease::new(registry),
            venue,
            names: HashMap::new(),
            defined: HashMap::new(),
            known: Vec::new(),
            seen: HashSet::new(),
            started: HashSet::new(),
            last: None,
        };
        for mapping in &metadata.mappings {
            for interval in &mapping.intervals {
                let (number, name) = match metadata.stype_in {
                    Some(SType::InstrumentId) => (&mapping.raw_symbol, &interval.symbol),
                    _ => (&interval.symbol, &mapping.raw_symbol),
                };
                let Ok(number) = number.parse() else { continue };
                let symbol = legal_symbol(name, number);
                let from = day_ns(interval.start_date.to_julian_day());
                let to = day_ns(interval.end_date.to_julian_day());
                let named = Named { from, to, symbol };
                symbols.names.entry(number).or_default().push(named);
                symbols.register(unknown_instrument(symbol, venue))?;
            }
        }
        Ok(symbols)
    }

    pub(super) fn simulated(&self) -> bool {
        self.venue.as_str() == SIMULATED_VENUE
    }

    /// Every symbol seen, in order of registration.
    pub(super) fn names(&self) -> &[Symbol] {
        &self.known
    }

    fn register(&mut self, instrument: Instrument) -> Result<Instrument, FeedError> {
        let instrument = self.lease.register(instrument)?;
        if self.seen.insert(instrument.symbol) {
            self.known.push(instrument.symbol);
        }
        Ok(instrument)
    }

    /// The platform's id of the venue's instrument. Its definition is appended first where none was yet.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        number: u32,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Result<InstrumentId, FeedError> {
        match self.last {
            Some((last, id)) if last == number => Ok(id),
            _ => self.look_up(number, stamp, out),
        }
    }

    #[cold]
    fn look_up(&mut self, number: u32, stamp: &Stamp, out: &mut Vec<u8>) -> Result<InstrumentId, FeedError> {
        let id = match self.defined.get(&number) {
            Some(instrument) => instrument.id,
            None => {
                let symbol = self.name(number, stamp).unwrap_or_else(|| numbered(number));
                self.define(number, unknown_instrument(symbol, self.venue), 0, stamp, out)?
            }
        };
        self.last = Some((number, id));
        Ok(id)
    }

    /// The name that holds at the stamp's time, or else the first one given.
    fn name(&self, number: u32, stamp: &Stamp) -> Option<Symbol> {
        let names = self.names.get(&number)?;
        let at = stamp.ts_event.0;
        names
            .iter()
            .find(|named| (named.from..named.to).contains(&at))
            .or(names.first())
            .map(|named| named.symbol)
    }

    fn define(
        &mut self,
        number: u32,
        instrument: Instrument,
        expiry: u64,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Result<InstrumentId, FeedError> {
        let instrument = self.register(instrument)?;
        self.defined.insert(number, instrument);
        let kept = stamp.flags & !(flags::SNAPSHOT | flags::MAYBE_BAD) | flags::LAST;
        let starts = if self.started.insert(instrument.id) { flags::STARTS_OVER } else { 0 };
        let stamp = Stamp { instrument: instrument.id, sequence: 0, flags: kept | starts, ..*stamp };
        stamp.definition(&instrument, u64::from(number), expiry, out);
        Ok(instrument.id)
    }

    /// A definition record: replaces whatever was known of the instrument but its name.
    pub(super) fn apply_definition(
        &mut self,
        record: &InstrumentDefMsg,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Result<(), FeedError> {
        let number = record.hd.instrument_id;
        let named = self.name(number, stamp);
        let symbol = named.unwrap_or_else(|| legal_symbol(record.raw_symbol().unwrap_or_default(), number));
        let expiry = if record.expiration == UNDEF_TIMESTAMP { 0 } else { record.expiration };
        self.define(number, instrument(record, symbol, self.venue), expiry, stamp, out)?;
        Ok(())
    }

    /// A name given within the stream, as live recordings do.
    pub(super) fn apply_mapping(&mut self, number: u32, name: &str) {
        if self.names.len() < MAX_INSTRUMENTS && !self.names.contains_key(&number) {
            let named = Named { from: 0, to: u64::MAX, symbol: legal_symbol(name, number) };
            self.names.insert(number, vec![named]);
        }
    }
}

/// Midnight UTC of a Julian day; 2,440,588 is 1970-01-01.
fn day_ns(julian_day: i32) -> u64 {
    let days = u64::try_from(julian_day - 2_440_588).unwrap_or(0);
    days.saturating_mul(nautilus_types::NANOS_PER_DAY)
}

/// Venues put blanks and slashes into names, which cannot stand in a URL: each run of them becomes one `_`.
/// What is empty or too long even so goes by its number.
fn legal_symbol(name: &str, number: u32) -> Symbol {
    let mut legal = String::with_capacity(name.len());
    for c in name.trim().chars() {
        let keeps = c.is_ascii_graphic() && !matches!(c, '/' | ',' | '"' | '\'' | '\\');
        if keeps || !legal.ends_with('_') {
            legal.push(if keeps { c } else { '_' });
        }
    }
    legal.parse().unwrap_or_else(|_| numbered(number))
}

fn numbered(number: u32) -> Symbol {
    format!("ID{number}").parse().expect("letters and digits, twelve at most")
}

fn instrument(record: &InstrumentDefMsg, symbol: Symbol, venue: Venue) -> Instrument {
    let class = match record.instrument_class() {
        Ok(InstrumentClass::Stock) => AssetClass::Equity,
        Ok(InstrumentClass::Future) => AssetClass::Future,
        Ok(InstrumentClass::Call | InstrumentClass::Put) => AssetClass::Option,
        Ok(InstrumentClass::FutureSpread | InstrumentClass::OptionSpread | InstrumentClass::MixedSpread) => {
            AssetClass::Spread
        }
        Ok(InstrumentClass::FxSpot) => AssetClass::Currency,
        _ => AssetClass::Unknown,
    };
    let unknown = unknown_instrument(symbol, venue);
    let currency = record.currency().ok().and_then(|text| text.parse().ok()).unwrap_or(unknown.currency);
    let tick = Price::from_nanos(defined(record.min_price_increment).unwrap_or(0));
    Instrument { class, currency, tick, multiplier: multiplier(record), ..unknown }
}

/// Money per point: the underlying per contract, else what a tick is worth over the tick, else one. In older
/// recordings of CME the worth of a tick is a hundredth of what it should be, so it comes second.
fn multiplier(record: &InstrumentDefMsg) -> Quantity {
    let by_contract = match record.contract_multiplier {
        i32::MAX => None,
        units => i64::from(units).checked_mul(SCALE),
    };
    let by_tick = || {
        let (worth, tick) =
            (defined(record.min_price_increment_amount)?, defined(record.min_price_increment)?);
        i64::try_from(i128::from(worth) * i128::from(SCALE) / i128::from(tick)).ok()
    };
    let candidates = [defined(record.unit_of_measure_qty), by_contract, by_tick()];
    let nanos = candidates.into_iter().flatten().find(|&nanos| nanos > 0);
    Quantity::from_nanos(nanos.unwrap_or(SCALE))
}

/// A fixed-point field that holds a positive number.
fn defined(nanos: i64) -> Option<i64> {
    (nanos > 0 && nanos != UNDEF_PRICE).then_some(nanos)
}
