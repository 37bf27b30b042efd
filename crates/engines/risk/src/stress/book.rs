//! Positions that were checked, and what they are worth after a shock.

use std::collections::BTreeMap;

use nautilus_numerics::{American, European, Greeks, OptionError, OptionKind, OptionTerms};

use super::request::{StressOptionKind, StressOptionStyle, StressPosition};
use crate::RiskError;

/// Positions of one question, at most.
pub(super) const POSITIONS_MAX: usize = 10_000;
/// American options that may be prepared for one question: each is an exercise boundary, some tenths of a millisecond.
const PREPARATIONS_MAX: usize = 20_000;

/// What moves, as numbers; nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Move {
    /// Relative.
    pub(super) price: f64,
    /// Relative.
    pub(super) volatility: f64,
    /// Added after that.
    pub(super) points: f64,
    pub(super) rate: f64,
    pub(super) dividend_yield: f64,
    /// Relative, of the currency.
    pub(super) currency: f64,
    /// Years that pass.
    pub(super) time: f64,
}

/// A position.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its place in [`Book::instruments`].
    pub(super) instrument: usize,
    /// Its place there.
    pub(super) currency: Option<usize>,
    /// Quantity · multiplier · currency: from the value of a unit to that of the position in the base currency.
    pub(super) scale: f64,
    /// Price or spot.
    pub(super) spot: f64,
    option: Option<Valuer>,
}

/// An option, prepared for any spot.
#[derive(Debug, Clone, PartialEq)]
enum Valuer {
    European(European),
    American(American),
}

/// A position in a shocked market, per unit.
pub(super) struct Shocked {
    pub(super) spot: f64,
    option: Option<Valuer>,
}

/// All positions and the names that shocks may have.
#[derive(Debug)]
pub(super) struct Book {
    /// Names of instruments and underlyings, then those of currencies.
    pub(super) names: Vec<String>,
    /// How many are instruments.
    pub(super) instruments: usize,
    pub(super) positions: Vec<Held>,
    /// Value of all before, in the base currency.
    pub(super) value: f64,
    /// Of each position before, per unit.
    pub(super) values: Vec<f64>,
}

impl Valuer {
    fn new(style: StressOptionStyle, terms: OptionTerms) -> Result<Self, OptionError> {
        Ok(match style {
            StressOptionStyle::European => Self::European(European::new(terms)?),
            StressOptionStyle::American => Self::American(American::new(terms)?),
        })
    }

    const fn style(&self) -> StressOptionStyle {
        match self {
            Self::European(_) => StressOptionStyle::European,
            Self::American(_) => StressOptionStyle::American,
        }
    }

    const fn terms(&self) -> &OptionTerms {
        match self {
            Self::European(option) => option.terms(),
            Self::American(option) => option.terms(),
        }
    }

    fn value(&self, spot: f64) -> Result<f64, OptionError> {
        match self {
            Self::European(option) => option.value(spot),
            Self::American(option) => option.value(spot),
        }
    }

    fn greeks(&self, spot: f64) -> Result<Greeks, OptionError> {
        match self {
            Self::European(option) => option.greeks(spot),
            Self::American(option) => option.greeks(spot),
        }
    }
}

/// How many boundaries of American options were prepared.
#[derive(Debug, Default)]
pub(super) struct Preparations {
    done: usize,
}

impl Preparations {
    fn count(&mut self, how_many: usize) -> Result<(), RiskError> {
        self.done += how_many;
        if self.done <= PREPARATIONS_MAX {
            return Ok(());
        }
        let reason = format!(
            "more than {PREPARATIONS_MAX} exercise boundaries of American options: ask for fewer scenarios that move volatilities, rates or time, or for less detail"
        );
        Err(RiskError::new("too_large", "positions", reason))
    }
}

impl Held {
    /// The position after a move, given the one before it in the same run, whose preparation may still serve.
    ///
    /// # Errors
    /// A volatility would be negative, or there is too much to prepare; the error names the position.
    pub(super) fn shocked(
        &self,
        index: usize,
        by: &Move,
        last: Option<Shocked>,
        preparations: &mut Preparations,
    ) -> Result<Shocked, RiskError> {
        let spot = self.spot * (1.0 + by.price);
        let Some(option) = &self.option else { return Ok(Shocked { spot, option: None }) };
        let before = option.terms();
        let terms = OptionTerms {
            volatility: before.volatility * (1.0 + by.volatility) + by.points,
            rate: before.rate + by.rate,
            dividend_yield: before.dividend_yield + by.dividend_yield,
            expiry: (before.expiry - by.time).max(0.0),
            ..*before
        };
        if terms == *before {
            return Ok(Shocked { spot, option: None });
        }
        let kept = last.and_then(|last| last.option).filter(|kept| *kept.terms() == terms);
        let prepared = if let Some(kept) = kept {
            kept
        } else {
            if option.style() == StressOptionStyle::American {
                preparations.count(1)?;
            }
            Valuer::new(option.style(), terms).map_err(|error| refused(index, error))?
        };
        Ok(Shocked { spot, option: Some(prepared) })
    }

    /// The value of a unit.
    pub(super) fn value(&self, index: usize, at: &Shocked) -> Result<f64, RiskError> {
        let Some(option) = &self.option else { return Ok(at.spot) };
        let option = at.option.as_ref().unwrap_or(option);
        option.value(at.spot).map_err(|error| refused(index, error))
    }

    /// The value of a unit and what it depends on.
    pub(super) fn greeks(
        &self,
        index: usize,
        at: &Shocked,
        preparations: &mut Preparations,
    ) -> Result<Greeks, RiskError> {
        let Some(option) = &self.option else {
            return Ok(Greeks { value: at.spot, delta: 1.0, ..Greeks::default() });
        };
        if option.style() == StressOptionStyle::American {
            // Differences by volatility, rate and yield.
            preparations.count(6)?;
        }
        let option = at.option.as_ref().unwrap_or(option);
        option.greeks(at.spot).map_err(|error| refused(index, error))
    }

    /// The value of a unit, delta and gamma, after a move of the price alone.
    pub(super) fn by_spot(&self, index: usize, spot: f64) -> Result<Greeks, RiskError> {
        let greeks = match &self.option {
            None => return Ok(Greeks { value: spot, delta: 1.0, ..Greeks::default() }),
            Some(Valuer::European(option)) => option.greeks(spot),
            Some(Valuer::American(option)) => option.greeks_by_spot(spot),
        };
        greeks.map_err(|error| refused(index, error))
    }

    /// As it was.
    pub(super) const fn unshocked(&self) -> Shocked {
        Shocked::of_price(self.spot)
    }

    /// The terms of an option.
    pub(super) fn terms(&self) -> Option<&OptionTerms> {
        self.option.as_ref().map(Valuer::terms)
    }
}

impl Shocked {
    /// After a move of the price alone.
    pub(super) const fn of_price(spot: f64) -> Self {
        Self { spot, option: None }
    }

    /// The terms of the option, where they moved.
    pub(super) fn terms(&self) -> Option<&OptionTerms> {
        self.option.as_ref().map(Valuer::terms)
    }
}

impl Book {
    /// Checks the positions and values them.
    ///
    /// # Errors
    /// The first field at fault.
    pub(super) fn new(
        positions: &[StressPosition],
        currencies: &BTreeMap<String, f64>,
    ) -> Result<Self, RiskError> {
        if positions.is_empty() {
            return Err(RiskError::new("empty", "positions", "there are none: send at least one"));
        }
        if positions.len() > POSITIONS_MAX {
            let reason = format!("{} are too many: send at most {POSITIONS_MAX}", positions.len());
            return Err(RiskError::new("too_large", "positions", reason));
        }
        for (name, value) in currencies {
            let reason = "what one unit is worth in the base currency is above 0";
            range(*value > 0.0 && value.is_finite(), || format!("currencies.{name}"), *value, reason)?;
        }
        let named = |(index, position): (usize, &StressPosition)| Ok((name(index, position)?, index));
        let mut instruments: Vec<String> = positions
            .iter()
            .enumerate()
            .map(named)
            .map(|named| Ok(named?.0))
            .collect::<Result<_, RiskError>>()?;
        instruments.sort();
        instruments.dedup();
        let count = instruments.len();
        if let Some(both) = currencies.keys().find(|name| instruments.binary_search(name).is_ok()) {
            let reason = "an instrument has that name, too: shocks could mean either, rename one";
            return Err(RiskError::new("conflict", format!("currencies.{both}"), reason));
        }
        let mut book = Self {
            names: instruments.iter().chain(currencies.keys()).cloned().collect(),
            instruments: count,
            positions: Vec::with_capacity(positions.len()),
            value: 0.0,
            values: Vec::with_capacity(positions.len()),
        };
        for (index, position) in positions.iter().enumerate() {
            let held = book.held(index, position, currencies)?;
            let value = held.value(index, &held.unshocked())?;
            book.value += held.scale * value;
            book.values.push(value);
            book.positions.push(held);
        }
        if book.value.is_finite() { Ok(book) } else { Err(overflow("positions")) }
    }

    fn held(
        &self,
        index: usize,
        position: &StressPosition,
        currencies: &BTreeMap<String, f64>,
    ) -> Result<Held, RiskError> {
        let at = |field: &str| format!("positions[{index}].{field}");
        range(position.quantity.is_finite(), || at("quantity"), position.quantity, "send a finite number")?;
        let multiplier = position.multiplier.unwrap_or(1.0);
        range(multiplier.is_finite() && multiplier > 0.0, || at("multiplier"), multiplier, "it is above 0")?;
        let (currency, worth) = match &position.currency {
            None => (None, 1.0),
            Some(name) => match currencies.get(name) {
                Some(worth) => (self.place(name), *worth),
                None => {
                    let reason = format!("{name} is not among currencies: add what one unit of it is worth");
                    return Err(RiskError::new("unknown", at("currency"), reason));
                }
            },
        };
        let name = position.underlying.as_ref().or(position.instrument.as_ref());
        let instrument = name.and_then(|name| self.place(name)).unwrap_or_default();
        let (spot, option) = if position.underlying.is_some() {
            let terms = terms(index, position)?;
            let style = position.style.unwrap_or_default();
            let option = Valuer::new(style, terms).map_err(|error| refused(index, error))?;
            (required(position.spot, || at("spot"))?, Some(option))
        } else {
            (linear(index, position)?, None)
        };
        let field = if option.is_some() { "spot" } else { "price" };
        let reason = "it is at least 0: relative shocks of less mean nothing";
        range(spot.is_finite() && spot >= 0.0, || at(field), spot, reason)?;
        Ok(Held { instrument, currency, scale: position.quantity * multiplier * worth, spot, option })
    }

    /// Where a name stands.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let (instruments, currencies) = self.names.split_at(self.instruments);
        let find = |names: &[String]| names.binary_search_by(|other| other.as_str().cmp(name)).ok();
        find(instruments).or_else(|| find(currencies).map(|at| at + self.instruments))
    }
}

fn name(index: usize, position: &StressPosition) -> Result<String, RiskError> {
    let at = |field: &str| format!("positions[{index}].{field}");
    match (&position.instrument, &position.underlying) {
        (Some(_), Some(_)) => {
            let reason = "it is a position in an instrument or an option on an underlying: send one of both";
            Err(RiskError::new("conflict", at("underlying"), reason))
        }
        (None, None) => {
            let reason = "name what is held, or the underlying of an option";
            Err(RiskError::new("missing", at("instrument"), reason))
        }
        (Some(name), None) | (None, Some(name)) if name.is_empty() => {
            let field = if position.instrument.is_some() { "instrument" } else { "underlying" };
            Err(RiskError::new("empty", at(field), "a name has at least one letter"))
        }
        (Some(name), None) | (None, Some(name)) => Ok(name.clone()),
    }
}

fn linear(index: usize, position: &StressPosition) -> Result<f64, RiskError> {
    let at = |field: &str| format!("positions[{index}].{field}");
    let unused = [
        ("kind", position.kind.is_some()),
        ("style", position.style.is_some()),
        ("strike", position.strike.is_some()),
        ("expiry_years", position.expiry_years.is_some()),
        ("volatility", position.volatility.is_some()),
        ("rate", position.rate.is_some()),
        ("dividend_yield", position.dividend_yield.is_some()),
        ("spot", position.spot.is_some()),
    ];
    if let Some((field, _)) = unused.into_iter().find(|(_, sent)| *sent) {
        let reason = "only an option has it: send underlying in place of instrument, or leave it out";
        return Err(RiskError::new("not_used", at(field), reason));
    }
    required(position.price, || at("price"))
}

fn terms(index: usize, position: &StressPosition) -> Result<OptionTerms, RiskError> {
    let at = |field: &str| format!("positions[{index}].{field}");
    if position.price.is_some() {
        let reason = "an option's value follows from its spot: leave it out";
        return Err(RiskError::new("not_used", at("price"), reason));
    }
    let Some(kind) = position.kind else {
        return Err(RiskError::new("missing", at("kind"), "an option is a call or a put: send it"));
    };
    Ok(OptionTerms {
        kind: match kind {
            StressOptionKind::Call => OptionKind::Call,
            StressOptionKind::Put => OptionKind::Put,
        },
        strike: required(position.strike, || at("strike"))?,
        rate: required(position.rate, || at("rate"))?,
        dividend_yield: position.dividend_yield.unwrap_or(0.0),
        volatility: required(position.volatility, || at("volatility"))?,
        expiry: required(position.expiry_years, || at("expiry_years"))?,
    })
}

fn required(value: Option<f64>, field: impl Fn() -> String) -> Result<f64, RiskError> {
    value.ok_or_else(|| RiskError::new("missing", field(), "send it"))
}

/// Refuses a number out of its range.
///
/// # Errors
/// It is not legal.
pub(super) fn range(
    legal: bool,
    field: impl Fn() -> String,
    value: f64,
    reason: &str,
) -> Result<(), RiskError> {
    if legal {
        return Ok(());
    }
    let code = if value.is_finite() { "out_of_range" } else { "not_finite" };
    Err(RiskError::new(code, field(), format!("{value}: {reason}")))
}

/// The option model's refusal, as one of a position.
fn refused(index: usize, error: OptionError) -> RiskError {
    let field = match error.field() {
        Some("expiry") => "expiry_years",
        Some(field) => field,
        None => return RiskError::new("overflow", format!("positions[{index}]"), error.to_string()),
    };
    RiskError::new("out_of_range", format!("positions[{index}].{field}"), error.to_string())
}

pub(super) fn overflow(field: &str) -> RiskError {
    RiskError::new("overflow", field, "the result is too large for a double: measure in a larger unit")
}
