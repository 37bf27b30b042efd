//! Scenarios: which shock meets which position, full revaluation, and where the P&L comes from.

use std::collections::BTreeMap;

use super::answer::{Explanation, PositionGreeks, PositionStress, ScenarioStress};
use super::book::{Book, Held, Move, Preparations, Shocked, overflow, range};
use super::library::DAYS;
use super::request::{Shock, StressDetail, StressRequest, StressScenario};
use crate::{RiskError, ScenarioMatrix};

/// Scenarios of one question, at most.
pub(super) const SCENARIOS_MAX: usize = 10_000;
/// Revaluations of positions, at most: of which only totals are told, each position's, and greeks too.
pub(super) const REVALUATIONS_MAX: usize = 20_000_000;
const DETAILS_MAX: usize = 200_000;
const GREEKS_MAX: usize = 20_000;

/// A scenario whose names were looked up.
pub(super) struct Resolved {
    name: String,
    source: Option<String>,
    all: Shock,
    /// By place of the name, merged with the group's.
    own: BTreeMap<usize, Shock>,
    time: f64,
}

impl Resolved {
    /// What happens to a position.
    fn by(&self, held: &Held) -> Move {
        let own = self.own.get(&held.instrument).copied().unwrap_or_default();
        let shock = merged(own, self.all);
        let currency = held.currency.and_then(|place| self.own.get(&place)).and_then(|shock| shock.price);
        Move {
            price: shock.price.unwrap_or(0.0),
            volatility: shock.volatility.unwrap_or(0.0),
            points: shock.volatility_points.unwrap_or(0.0),
            rate: shock.rate.unwrap_or(0.0),
            dividend_yield: shock.dividend_yield.unwrap_or(0.0),
            currency: currency.unwrap_or(0.0),
            time: self.time,
        }
    }

    /// A period of returns.
    fn historical(row: usize, returns: &[f64], places: &[Option<usize>]) -> Self {
        let shock = |price: &f64| Shock { price: Some(*price), ..Shock::default() };
        let own = places.iter().zip(returns).filter_map(|(place, price)| Some(((*place)?, shock(price))));
        let name = format!("returns[{row}]");
        Self { name, source: None, all: Shock::default(), own: own.collect(), time: 0.0 }
    }
}

/// The narrower shock where it says something, else the wider one.
fn merged(narrow: Shock, wide: Shock) -> Shock {
    Shock {
        price: narrow.price.or(wide.price),
        volatility: narrow.volatility.or(wide.volatility),
        volatility_points: narrow.volatility_points.or(wide.volatility_points),
        rate: narrow.rate.or(wide.rate),
        dividend_yield: narrow.dividend_yield.or(wide.dividend_yield),
    }
}

/// The user's scenarios and those of the library, looked up.
///
/// # Errors
/// The first field at fault.
pub(super) fn resolve(request: &StressRequest, book: &Book) -> Result<Vec<Resolved>, RiskError> {
    let mut groups = BTreeMap::new();
    for (group, members) in &request.groups {
        let mut places = Vec::with_capacity(members.len());
        for (at, member) in members.iter().enumerate() {
            let field = || format!("groups.{group}[{at}]");
            places.push(instrument(book, member, field)?);
        }
        groups.insert(group.as_str(), places);
    }
    let mut resolved = Vec::new();
    for (at, scenario) in request.scenarios.iter().enumerate() {
        resolved.push(user(&format!("scenarios[{at}]"), scenario, book, &groups)?);
    }
    for (at, name) in request.library.iter().enumerate() {
        let Some(day) = DAYS.iter().find(|day| day.name == name) else {
            let names = DAYS.map(|day| day.name).join(", ");
            let reason = format!("{name} is not in the library: it holds {names}");
            return Err(RiskError::new("unknown", format!("library[{at}]"), reason));
        };
        let source = Some(day.source.to_owned());
        let own = BTreeMap::new();
        resolved.push(Resolved { name: name.clone(), source, all: day.shock(), own, time: 0.0 });
    }
    Ok(resolved)
}

fn instrument(book: &Book, name: &str, field: impl Fn() -> String) -> Result<usize, RiskError> {
    book.place(name).filter(|place| *place < book.instruments).ok_or_else(|| unknown(field(), name))
}

pub(super) fn unknown(field: String, name: &str) -> RiskError {
    RiskError::new(
        "unknown",
        field,
        format!("no position is in {name} or on it: leave it out, or correct it"),
    )
}

fn user(
    at: &str,
    scenario: &StressScenario,
    book: &Book,
    groups: &BTreeMap<&str, Vec<usize>>,
) -> Result<Resolved, RiskError> {
    let time = scenario.time_years;
    let never_back = "time passes: it is at least 0";
    range(time.is_finite() && time >= 0.0, || format!("{at}.time_years"), time, never_back)?;
    let mut own = BTreeMap::new();
    let mut members = BTreeMap::new();
    for (group, shock) in &scenario.groups {
        let field = format!("{at}.groups.{group}");
        check(&field, shock)?;
        let Some(places) = groups.get(group.as_str()) else {
            return Err(RiskError::new("unknown", field, "groups has no such name: add it"));
        };
        for place in places {
            if let Some(other) = members.insert(*place, group) {
                let name = &book.names[*place];
                let reason =
                    format!("{name} is in {other}, too, and could follow either: shock it by itself");
                return Err(RiskError::new("conflict", field, reason));
            }
            own.insert(*place, *shock);
        }
    }
    for (name, shock) in &scenario.shocks {
        let field = format!("{at}.shocks.{name}");
        check(&field, shock)?;
        let place = book.place(name).ok_or_else(|| unknown(field.clone(), name))?;
        if place >= book.instruments && (Shock { price: None, ..*shock }) != Shock::default() {
            return Err(RiskError::new(
                "not_used",
                field,
                "of a currency only price moves: leave the rest out",
            ));
        }
        let group = own.get(&place).copied().unwrap_or_default();
        own.insert(place, merged(*shock, group));
    }
    let all = scenario.all.unwrap_or_default();
    check(&format!("{at}.all"), &all)?;
    Ok(Resolved { name: scenario.name.clone(), source: None, all, own, time })
}

fn check(at: &str, shock: &Shock) -> Result<(), RiskError> {
    let fields = [
        ("price", shock.price, -1.0, "a price loses all at −1"),
        ("volatility", shock.volatility, -1.0, "a volatility is 0 at −1"),
        ("volatility_points", shock.volatility_points, f64::MIN, "send a finite number"),
        ("rate", shock.rate, f64::MIN, "send a finite number"),
        ("dividend_yield", shock.dividend_yield, f64::MIN, "send a finite number"),
    ];
    for (field, value, least, reason) in fields {
        let Some(value) = value else { continue };
        range(value.is_finite() && value >= least, || format!("{at}.{field}"), value, reason)?;
    }
    Ok(())
}

/// The worst periods of history for the book, the worst first; of equal ones the earlier.
///
/// # Errors
/// The first field at fault.
pub(super) fn worst(
    book: &Book,
    returns: &ScenarioMatrix,
    places: &[Option<usize>],
    count: usize,
) -> Result<Vec<Resolved>, RiskError> {
    let rows = returns.rows();
    if rows.saturating_mul(book.positions.len()) > REVALUATIONS_MAX {
        let reason = format!("periods times positions are more than {REVALUATIONS_MAX}: send fewer");
        return Err(RiskError::new("too_large", "returns", reason));
    }
    let mut columns = vec![None; book.names.len()];
    for (column, place) in places.iter().enumerate() {
        if let Some(place) = place {
            columns[*place] = Some(column);
        }
    }
    let mut totals: Vec<(f64, usize)> = (0..rows).map(|row| (0.0, row)).collect();
    for (index, held) in book.positions.iter().enumerate() {
        let column = columns[held.instrument].ok_or_else(|| {
            let name = &book.names[held.instrument];
            RiskError::new(
                "missing",
                "instruments",
                format!("{name} is held and has no column of returns: add it"),
            )
        })?;
        let currency = held.currency.and_then(|place| columns[place]);
        for (total, row) in &mut totals {
            let returns = returns.row(*row);
            let spot = held.spot * (1.0 + returns[column]);
            let value = held.value(index, &Shocked::of_price(spot))?;
            let grown = 1.0 + currency.map_or(0.0, |column| returns[column]);
            *total += held.scale * (value * grown - book.values[index]);
        }
    }
    totals.sort_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
    let worst = totals.into_iter().take(count);
    Ok(worst.map(|(_, row)| Resolved::historical(row, returns.row(row), places)).collect())
}

/// Revalues the book in every scenario.
///
/// # Errors
/// There is too much to do, a volatility would be negative, or a value is not finite.
pub(super) fn revalue(
    book: &Book,
    scenarios: &[Resolved],
    detail: StressDetail,
    preparations: &mut Preparations,
) -> Result<Vec<ScenarioStress>, RiskError> {
    let most = match detail {
        StressDetail::Totals => REVALUATIONS_MAX,
        StressDetail::Positions => DETAILS_MAX,
        StressDetail::Greeks => GREEKS_MAX,
    };
    if scenarios.len() > SCENARIOS_MAX {
        let reason = format!("{} are too many: send at most {SCENARIOS_MAX}", scenarios.len());
        return Err(RiskError::new("too_large", "scenarios", reason));
    }
    if scenarios.len().saturating_mul(book.positions.len()) > most {
        let reason =
            format!("scenarios times positions are more than {most}: send fewer, or ask for less detail");
        return Err(RiskError::new("too_large", "scenarios", reason));
    }
    let mut answers: Vec<ScenarioStress> =
        scenarios.iter().map(|scenario| blank(book, scenario, detail)).collect();
    for (index, held) in book.positions.iter().enumerate() {
        let before = match detail {
            StressDetail::Greeks => Some(held.greeks(index, &held.unshocked(), preparations)?),
            _ => None,
        };
        let mut last = None;
        for (scenario, answer) in scenarios.iter().zip(&mut answers) {
            let by = scenario.by(held);
            let at = held.shocked(index, &by, last.take(), preparations)?;
            let (value, after) = match &before {
                Some(_) => {
                    let greeks = held.greeks(index, &at, preparations)?;
                    (greeks.value, Some(greeks))
                }
                None => (held.value(index, &at)?, None),
            };
            let value_before = held.scale * book.values[index];
            let value_after = held.scale * (1.0 + by.currency) * value;
            let pnl = value_after - value_before;
            answer.pnl += pnl;
            answer.value_after += value_after;
            let scaled = |greeks, currency: f64| PositionGreeks::scaled(greeks, held.scale * currency);
            let greeks_before = before.as_ref().map(|greeks| scaled(greeks, 1.0));
            let explanation =
                greeks_before.map(|greeks| explain(&greeks, held, &at, &by, (value_before, pnl)));
            if let (Some(sum), Some(part)) = (&mut answer.explanation, &explanation) {
                sum.add(part);
            }
            if detail != StressDetail::Totals {
                let greeks_after = after.as_ref().map(|greeks| scaled(greeks, 1.0 + by.currency));
                let position = PositionStress {
                    pnl,
                    value_before,
                    value_after,
                    greeks_before,
                    greeks_after,
                    explanation,
                };
                answer.positions.push(position);
            }
            last = Some(at);
        }
    }
    let finite = answers.iter().all(|answer| answer.pnl.is_finite() && answer.value_after.is_finite());
    if finite { Ok(answers) } else { Err(overflow("scenarios")) }
}

fn blank(book: &Book, scenario: &Resolved, detail: StressDetail) -> ScenarioStress {
    ScenarioStress {
        name: scenario.name.clone(),
        source: scenario.source.clone(),
        pnl: 0.0,
        value_before: book.value,
        value_after: 0.0,
        explanation: (detail == StressDetail::Greeks).then(Explanation::default),
        positions: Vec::new(),
    }
}

/// The Taylor series of the value by the greeks before, and what it leaves of the P&L.
fn explain(greeks: &PositionGreeks, held: &Held, at: &Shocked, by: &Move, result: (f64, f64)) -> Explanation {
    let (value_before, pnl) = result;
    let price = at.spot - held.spot;
    let (mut volatility, mut rate, mut dividend_yield, mut time) = (0.0, 0.0, 0.0, 0.0);
    if let (Some(before), Some(after)) = (held.terms(), at.terms()) {
        volatility = after.volatility - before.volatility;
        rate = after.rate - before.rate;
        dividend_yield = after.dividend_yield - before.dividend_yield;
        time = before.expiry - after.expiry;
    }
    let mut explanation = Explanation {
        delta: greeks.delta * price,
        gamma: 0.5 * greeks.gamma * price * price,
        vega: greeks.vega * volatility,
        vanna: greeks.vanna * price * volatility,
        volga: 0.5 * greeks.volga * volatility * volatility,
        theta: greeks.theta * time,
        rho: greeks.rho * rate + greeks.dividend_rho * dividend_yield,
        currency: value_before * by.currency,
        residual: 0.0,
    };
    explanation.residual = pnl - explanation.explained();
    explanation
}
