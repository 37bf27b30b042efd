//! Builds bars by time, trades, volume and notional from prints.
//!
//! Time bars are aligned to the clock and close when an instant at or after their end is seen; a print that comes
//! later than that counts into the next bar, for a closed bar never changes. A print across a volume or notional
//! boundary is split exactly, and counts as a trade of every bar it reaches. Bars without trades do not exist. This
//! file never publishes.

use std::sync::Arc;

use nautilus_engine::{History, HistoryView};
use nautilus_messages::BarSpec;
use nautilus_messages::frame::BarUnit;
use nautilus_messages::record::BarRecord;
use nautilus_types::{Money, Quantity, SCALE, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::statistics::{Print, Sums};

/// One print closes at most so many bars of a kind: an absurd size must not hold up the engine.
pub(crate) const SPLITS_MAX: usize = 1_024;

/// The bar in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Forming {
    ts_open: UnixNanos,
    ts_last: UnixNanos,
    sums: Sums,
}

/// What a print did to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Trouble {
    /// Bars left out because one print closed more than [`SPLITS_MAX`].
    pub(crate) skipped: u64,
    /// The print was left out because a sum would not fit.
    pub(crate) overflow: bool,
}

/// The bars of one instrument and one interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) spec: BarSpec,
    forming: Option<Forming>,
    /// How far the forming bar is: trades, billionths of quantity, or 1e-27 of money.
    progress: i128,
    /// Where the next bar may open at the earliest: the opening instant is part of a stored bar's key.
    next_open: UnixNanos,
    /// The source sends these bars itself, so none are built.
    from_source: bool,
    closed: History<BarRecord>,
    #[serde(skip)]
    shared: Option<Arc<HistoryView<BarRecord>>>,
}

impl Series {
    pub(crate) fn new(spec: BarSpec, keep: usize) -> Self {
        Self {
            spec,
            forming: None,
            progress: 0,
            next_open: UnixNanos(0),
            from_source: false,
            closed: History::new(keep),
            shared: None,
        }
    }

    /// The instant at which the forming bar closes by the clock.
    pub(crate) fn due(&self) -> u64 {
        match self.forming {
            Some(bar) if self.spec.unit() == BarUnit::Time => {
                bar.ts_open.0.saturating_add(self.spec.interval())
            }
            _ => u64::MAX,
        }
    }

    /// Closes the forming bar, whatever it lacks.
    pub(crate) fn close(&mut self, instrument: Symbol) -> Option<BarRecord> {
        self.progress = 0;
        let record = self.record(instrument)?;
        self.forming = None;
        self.keep(record);
        Some(record)
    }

    /// Appends a bar that the source made, and builds none from now on.
    pub(crate) fn keep_from_source(&mut self, record: BarRecord) {
        self.from_source = true;
        self.forming = None;
        self.keep(record);
    }

    fn keep(&mut self, record: BarRecord) {
        self.closed.push(record);
        self.shared = None;
    }

    /// The forming bar as it stands.
    pub(crate) fn record(&self, instrument: Symbol) -> Option<BarRecord> {
        let Forming { ts_open, ts_last, sums } = self.forming?;
        let ts_close = match self.spec.unit() {
            BarUnit::Time => UnixNanos(self.due()),
            _ => ts_last.max(ts_open),
        };
        Some(BarRecord {
            instrument,
            unit: self.spec.unit(),
            interval: self.spec.interval(),
            ts_open,
            ts_close,
            open: sums.open,
            high: sums.high,
            low: sums.low,
            close: sums.close,
            vwap: Some(sums.vwap()),
            volume: Money::from_nanos(sums.volume),
            volume_buy: Money::from_nanos(sums.buy),
            volume_sell: Money::from_nanos(sums.sell),
            trades: u32::try_from(sums.trades).unwrap_or(u32::MAX),
        })
    }

    /// Adds a print; every bar it closes goes to `closed`.
    pub(crate) fn add(
        &mut self,
        print: &Print,
        instrument: Symbol,
        multiplier: Quantity,
        closed: &mut Vec<BarRecord>,
    ) -> Trouble {
        if self.from_source {
            return Trouble::default();
        }
        match self.spec.unit() {
            BarUnit::Time => Trouble { overflow: !self.accumulate(print), skipped: 0 },
            BarUnit::Tick => {
                let overflow = !self.accumulate(print);
                self.progress += 1;
                if self.progress >= i128::from(self.spec.interval()) {
                    closed.extend(self.close(instrument));
                }
                Trouble { overflow, skipped: 0 }
            }
            BarUnit::Volume => self.split(print, 1, i128::from(self.spec.interval()), instrument, closed),
            BarUnit::Notional => {
                let money = i128::from(print.price.nanos().unsigned_abs());
                let Some(weight) = money.checked_mul(i128::from(multiplier.nanos())) else {
                    return Trouble { overflow: true, skipped: 0 };
                };
                let target = i128::from(self.spec.interval()) * i128::from(SCALE) * i128::from(SCALE);
                self.split(print, weight, target, instrument, closed)
            }
        }
    }

    /// Deals a print out to as many bars as it fills. A billionth of quantity weighs `weight`; a bar is full at
    /// `target`. What the last billionth overshoots is carried, so the boundaries lie exactly at the multiples
    /// of the target.
    fn split(
        &mut self,
        print: &Print,
        weight: i128,
        target: i128,
        instrument: Symbol,
        closed: &mut Vec<BarRecord>,
    ) -> Trouble {
        let mut left = print.quantity.nanos();
        if i128::from(left).checked_mul(weight).and_then(|all| all.checked_add(self.progress)).is_none() {
            return Trouble { overflow: true, skipped: 0 };
        }
        for _ in 0..SPLITS_MAX {
            let missing = target - self.progress;
            let needed = if weight == 0 { i128::MAX } else { ((missing + weight - 1) / weight).max(0) };
            let Some(piece) = i64::try_from(needed).ok().filter(|needed| *needed <= left) else {
                let overflow = left > 0 && !self.accumulate(&print.of(left));
                self.progress += i128::from(left) * weight;
                return Trouble { overflow, skipped: 0 };
            };
            let overflow = piece > 0 && !self.accumulate(&print.of(piece));
            let carried = self.progress + i128::from(piece) * weight - target;
            closed.extend(self.close(instrument));
            self.progress = carried;
            left -= piece;
            if overflow {
                return Trouble { overflow, skipped: 0 };
            }
        }
        let total = self.progress + i128::from(left) * weight;
        self.progress = total % target;
        Trouble { overflow: false, skipped: u64::try_from(total / target).unwrap_or(u64::MAX) }
    }

    fn accumulate(&mut self, print: &Print) -> bool {
        let mut bar = match self.forming {
            Some(bar) => bar,
            None => Forming {
                ts_open: self.open_at(print.ts),
                ts_last: print.ts,
                sums: Sums::starting_at(print.price),
            },
        };
        let Some(sums) = bar.sums.with(print) else { return false };
        bar.sums = sums;
        bar.ts_last = bar.ts_last.max(print.ts);
        self.forming = Some(bar);
        true
    }

    /// Time bars open on the clock, the others at their first print, and each at an instant of its own: later than
    /// the bar before by a nanosecond where several open at once, by an interval where a print comes so late that
    /// its time bar is closed.
    fn open_at(&mut self, ts: UnixNanos) -> UnixNanos {
        let (opening, apart) = match self.spec.unit() {
            BarUnit::Time => (ts.floor(self.spec.interval()), self.spec.interval()),
            _ => (ts, 1),
        };
        let opening = opening.max(self.next_open);
        self.next_open = UnixNanos(opening.0.saturating_add(apart));
        opening
    }

    /// The closed bars, shared with the views made earlier.
    pub(crate) fn view(&mut self) -> Arc<HistoryView<BarRecord>> {
        let closed = &self.closed;
        Arc::clone(self.shared.get_or_insert_with(|| Arc::new(closed.view())))
    }
}

impl Print {
    fn of(&self, quantity_nanos: i64) -> Self {
        Self { quantity: Quantity::from_nanos(quantity_nanos), ..*self }
    }
}
