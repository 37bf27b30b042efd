//! The market's closing prices, day by day, and the scenarios that follow from them.
//!
//! A close is the mark that an instrument has when a UTC day of market time ends, if the market said it on that day. Closes
//! are facts. The model of their returns is made outside of the engine, which only says when there is one to make.

use std::collections::BTreeMap;

use nautilus_engine::Effects;
use nautilus_types::{Price, Symbol, UtcDay};
use serde::{Deserialize, Serialize};

use crate::RiskError;
use crate::commands::check_name;
use crate::engine::RiskEngine;
use crate::facts::Fact;
use crate::live::RETURN_MAX;
use crate::model::{Model, SCENARIO_INSTRUMENTS_MAX, ScenarioSet, Scenarios};
use crate::positions::Row;

/// Days of closes that are kept: five years of trading days, and the one before.
pub const CLOSES_DAYS_MAX: usize = 1_261;
/// Closes of all days that are kept: 64 MiB.
pub const CLOSES_MAX: usize = 1 << 21;
/// Returns that scenarios are made of, at least. The worst of them is then the value at risk: a month says no more.
pub(crate) const SCENARIO_DAYS_MIN: usize = 20;

/// Closes of a day in billionths, by symbol.
type DayCloses = Vec<(Symbol, i64)>;

/// Where the scenarios in force are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// From closes, when so many records of them had been taken in; 0 when there are no scenarios.
    Market { revision: u64 },
    /// From a person. Closes do not replace them.
    Given { by: String },
}

impl Default for Source {
    fn default() -> Self {
        Self::Market { revision: 0 }
    }
}

/// All closes that are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Closes {
    days: BTreeMap<u64, DayCloses>,
    /// How many records of closes were taken in.
    revision: u64,
}

/// Closes that scenarios are to be made of.
#[derive(Debug, Clone, PartialEq)]
pub struct CloseWindow {
    revision: u64,
    days: Vec<DayCloses>,
}

/// Closes from elsewhere, so that scenarios need not wait for the market's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenCloses {
    /// One per column.
    pub instruments: Vec<Symbol>,
    /// By day: a close of each instrument, or none.
    pub days: BTreeMap<UtcDay, Vec<Option<Price>>>,
}

/// What live measures are taken over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenariosView {
    /// One per column.
    pub instruments: Vec<Symbol>,
    /// How many there are.
    pub scenarios: usize,
    /// `given` by a person or of the `market`; none without scenarios.
    pub source: Option<&'static str>,
    /// Who gave them.
    pub by: Option<String>,
    /// Days of closes.
    pub closes: ClosesView,
    /// Instruments with a close on the newest day that scenarios of the market leave out.
    pub left_out: Vec<Symbol>,
}

/// Which closes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClosesView {
    /// How many days.
    pub days: usize,
    /// The oldest.
    pub first: Option<UtcDay>,
    /// The newest.
    pub last: Option<UtcDay>,
}

fn find(closes: &DayCloses, symbol: Symbol) -> Option<i64> {
    closes.binary_search_by_key(&symbol, |(symbol, _)| *symbol).ok().map(|at| closes[at].1)
}

impl Closes {
    /// Takes closes of a day in; what is there of the same instrument is replaced. The oldest days go when there are too
    /// many. A price of zero is none: there is no return from it.
    pub(crate) fn record(&mut self, day: u64, closes: DayCloses) {
        let kept = self.days.remove(&day).unwrap_or_default();
        let all = kept.into_iter().chain(closes).filter(|(_, price)| *price != 0);
        let merged: BTreeMap<Symbol, i64> = all.collect();
        self.days.insert(day, merged.into_iter().take(SCENARIO_INSTRUMENTS_MAX).collect());
        self.revision = self.revision.saturating_add(1);
        let mut count: usize = self.days.values().map(Vec::len).sum();
        while self.days.len() > CLOSES_DAYS_MAX || count > CLOSES_MAX {
            count -= self.days.pop_first().map_or(0, |(_, closes)| closes.len());
        }
    }

    /// Days on which markets were open, oldest first: those with more than half as many closes as the median day. What few
    /// trade on, such as a Sunday, would else leave all others out.
    fn open_days(&self) -> impl DoubleEndedIterator<Item = &DayCloses> {
        let mut counts: Vec<usize> = self.days.values().map(Vec::len).collect();
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or_default();
        self.days.values().filter(move |closes| 2 * closes.len() > median)
    }

    /// The newest closes, for so many returns at most.
    fn window(&self, returns: usize) -> CloseWindow {
        let mut days: Vec<DayCloses> = self.open_days().rev().take(returns + 1).cloned().collect();
        days.reverse();
        CloseWindow { revision: self.revision, days }
    }

    /// Whether no list is too long, and each is in order.
    pub(crate) fn is_sound(&self) -> bool {
        let sound = |closes: &DayCloses| {
            closes.len() <= SCENARIO_INSTRUMENTS_MAX
                && closes.is_sorted_by(|a, b| a.0 < b.0)
                && closes.iter().all(|(_, price)| *price != 0)
        };
        self.days.len() <= CLOSES_DAYS_MAX
            && self.days.values().map(Vec::len).sum::<usize>() <= CLOSES_MAX
            && self.days.values().all(sound)
    }

    fn view(&self) -> ClosesView {
        let day = |entry: Option<(&u64, &DayCloses)>| entry.map(|(day, _)| UtcDay(*day));
        ClosesView {
            days: self.days.len(),
            first: day(self.days.first_key_value()),
            last: day(self.days.last_key_value()),
        }
    }
}

impl CloseWindow {
    /// How many records of closes had been taken in.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Simple returns from one close to the next, of the instruments that have all closes; `None` where there are too few
    /// days or no such instrument. One with a return that no scenario may have is left out.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn scenarios(&self) -> Option<ScenarioSet> {
        let (first, later) = self.days.split_first()?;
        if later.len() < SCENARIO_DAYS_MIN {
            return None;
        }
        let complete = |&(symbol, first): &(Symbol, i64)| {
            let mut before = first;
            let next = |day: &DayCloses| {
                let close = find(day, symbol)?;
                let change = close as f64 / std::mem::replace(&mut before, close) as f64 - 1.0;
                (change.abs() <= RETURN_MAX).then_some(change)
            };
            Some((symbol, later.iter().map(next).collect::<Option<Vec<f64>>>()?))
        };
        let (instruments, returns): (Vec<_>, Vec<_>) = first.iter().filter_map(complete).unzip();
        (!instruments.is_empty()).then_some(ScenarioSet { instruments, returns })
    }
}

fn invalid<T>(field: String, reason: String) -> Result<T, RiskError> {
    Err(RiskError::new("invalid_closes", field, reason))
}

impl GivenCloses {
    /// By day, oldest first; refuses what cannot be closes of days before `end`.
    fn into_days(self, end: u64) -> Result<Vec<(u64, DayCloses)>, RiskError> {
        let Self { instruments, days } = self;
        let columns = instruments.len();
        if !(1..=SCENARIO_INSTRUMENTS_MAX).contains(&columns) {
            let reason = format!("name 1 to {SCENARIO_INSTRUMENTS_MAX}, not {columns}");
            return invalid("instruments".to_owned(), reason);
        }
        let mut sorted = instruments.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let reason = format!("{} stands there twice; leave one out", twice[0]);
            return invalid("instruments".to_owned(), reason);
        }
        let count = days.len();
        if !(1..=CLOSES_DAYS_MAX).contains(&count) || columns * count > CLOSES_MAX {
            let reason = format!("give 1 to {CLOSES_DAYS_MAX} days and {CLOSES_MAX} closes in all");
            return invalid("days".to_owned(), reason);
        }
        let one = |(day, closes): (UtcDay, Vec<Option<Price>>)| {
            if day.0 >= end {
                let reason = format!("its close is still to come; give days before {}", UtcDay(end));
                return invalid(format!("days.{day}"), reason);
            }
            if closes.len() != columns {
                let reason = format!("give {columns} closes, one per instrument, or null for none");
                return invalid(format!("days.{day}"), reason);
            }
            if let Some(at) = closes.iter().position(|close| close.is_some_and(|close| close.nanos() == 0)) {
                let reason = "there is no return from a price of zero; give null".to_owned();
                return invalid(format!("days.{day}[{at}]"), reason);
            }
            let priced = instruments.iter().zip(closes);
            Ok((day.0, priced.filter_map(|(symbol, close)| Some((*symbol, close?.nanos()))).collect()))
        };
        days.into_iter().map(one).collect()
    }
}

impl RiskEngine {
    /// Marks of the day that ends, in order of symbols. Beyond what is kept of a day, instruments that had a close the day
    /// before come first.
    pub(crate) fn closing_marks(&self) -> DayCloses {
        let roster = &self.positions.roster;
        let close = |(row, entry): (u32, &Row)| {
            let mark = entry.mark.filter(|mark| mark.at.day() >= self.day && mark.price != 0)?;
            Some((roster.symbol(row), mark.price))
        };
        let mut closes: DayCloses = (0..).zip(&self.positions.rows).filter_map(close).collect();
        if let Some((_, newest)) = self.closes.days.last_key_value()
            && closes.len() > SCENARIO_INSTRUMENTS_MAX
        {
            closes.sort_by_key(|(symbol, _)| find(newest, *symbol).is_none());
        }
        closes.truncate(SCENARIO_INSTRUMENTS_MAX);
        closes.sort_unstable();
        closes
    }

    /// Takes closes in that a person gives, of days before the market's present one.
    pub(crate) fn give_closes(&mut self, closes: GivenCloses, by: &str, out: &mut Effects) {
        let end = if self.day == 0 { self.clock.now.day() } else { self.day };
        if let Err((code, detail)) = check_name(by).and_then(|()| self.check_room()) {
            return out.refuse(code, detail);
        }
        match closes.into_days(end) {
            Err(error) => out.refuse(error.code(), error.to_string()),
            Ok(days) => {
                for (day, closes) in days {
                    self.record(Fact::Closes { day, closes, by: Some(by.to_owned()) }, out);
                }
            }
        }
    }

    /// Closes that no scenarios were made of yet, unless `seen` already; none while a person's scenarios are in force.
    #[must_use]
    pub fn new_closes(&self, seen: u64) -> Option<CloseWindow> {
        let Source::Market { revision } = self.source else { return None };
        let is_new = self.closes.revision > revision.max(seen);
        let is_wanted = self.settings.scenarios_from_market && self.has_room && is_new;
        is_wanted.then(|| self.closes.window(self.settings.scenario_days))
    }

    /// Takes scenarios in that were made of closes, unless newer ones or a person's are there.
    pub(crate) fn take_collected(&mut self, scenarios: Scenarios, revision: u64, out: &mut Effects) {
        if matches!(self.source, Source::Market { revision: made } if made < revision) && self.has_room {
            let instruments = scenarios.set.instruments.clone();
            self.take_scenarios(scenarios, Fact::Collected { instruments, revision }, out);
        }
    }

    /// Takes the scenarios in force back, so that those of closes come into force.
    pub(crate) fn withdraw_scenarios(&mut self, by: String, out: &mut Effects) {
        match check_name(&by) {
            Ok(()) => self.record(Fact::ScenariosWithdrawn { by }, out),
            Err((code, detail)) => out.refuse(code, detail),
        }
    }

    pub(crate) fn drop_scenarios(&mut self) {
        self.positions.model = Model::new();
        self.source = Source::default();
        (self.incoming, self.prepared) = (None, None);
    }

    /// What live measures are taken over, and what of the market is there to take them over.
    #[must_use]
    pub fn scenarios(&self) -> ScenariosView {
        let set = &self.positions.model.set;
        let (source, by) = match &self.source {
            _ if set.is_empty() => (None, None),
            Source::Market { .. } => (Some("market"), None),
            Source::Given { by } => (Some("given"), Some(by.clone())),
        };
        let mut left_out = Vec::new();
        if let (Some("market"), Some(newest)) = (source, self.closes.open_days().next_back()) {
            // Scenarios of the market have their instruments in order.
            let is_left_out = |symbol: &Symbol| set.instruments.binary_search(symbol).is_err();
            left_out.extend(newest.iter().map(|(symbol, _)| *symbol).filter(is_left_out));
        }
        let (instruments, scenarios, closes) = (set.instruments.clone(), set.len(), self.closes.view());
        ScenariosView { instruments, scenarios, source, by, closes, left_out }
    }
}
