//! What the gate and the questions on live state measure risk with: the scenarios that were given, and every node's
//! exposures in them.
//!
//! The factor model counts all open orders as filled and follows every price: the gate asks it. The historical cube
//! counts positions as they are; executions change it at once, prices when somebody asks. Both follow from positions,
//! prices and scenarios, and are no part of what is kept.

use nautilus_hardware::Hardware;
use nautilus_types::Symbol;
use serde::{Deserialize, Serialize};

use crate::RiskError;
use crate::hierarchy::NOWHERE;
use crate::live::{Change, Cube, FactorModel, Loadings, Scratch, TailRisk};

/// Numbers of a scenario set, at most: 32 MiB.
pub const SCENARIO_NUMBERS_MAX: usize = 1 << 22;
/// Scenarios of a set, at most.
pub const SCENARIOS_MAX: usize = 1 << 14;
/// Instruments of a set, at most.
pub const SCENARIO_INSTRUMENTS_MAX: usize = 4_096;
/// Factors of the model, where the returns have as many.
const FACTORS: usize = 32;
/// Sums are taken anew after so many changes.
const REBUILD_EVERY: u32 = 1 << 16;
/// Φ⁻¹(0.99): limits on value at risk are at this confidence.
const Z99: f64 = 2.326_347_874_040_841;

/// Returns of instruments in equally likely scenarios of one day, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioSet {
    /// One per column.
    pub instruments: Vec<Symbol>,
    /// By instrument: its simple return in each scenario.
    pub returns: Vec<Vec<f64>>,
}

impl ScenarioSet {
    /// How many scenarios there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.returns.first().map_or(0, Vec::len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses what no set can be.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RiskError> {
        let refuse = |field: String, reason: String| Err(RiskError::new("invalid_scenarios", field, reason));
        let (columns, count) = (self.instruments.len(), self.len());
        if columns == 0 || columns > SCENARIO_INSTRUMENTS_MAX {
            return refuse(
                "instruments".into(),
                format!("name 1 to {SCENARIO_INSTRUMENTS_MAX}, not {columns}"),
            );
        }
        if self.returns.len() != columns {
            let reason = format!(
                "there are {} lists for {columns} instruments; give one for each",
                self.returns.len()
            );
            return refuse("returns".into(), reason);
        }
        if !(2..=SCENARIOS_MAX).contains(&count) || columns * count > SCENARIO_NUMBERS_MAX {
            let reason = format!(
                "give 2 to {SCENARIOS_MAX} returns for each instrument, {SCENARIO_NUMBERS_MAX} in all, not {count}"
            );
            return refuse("returns[0]".into(), reason);
        }
        for (column, returns) in self.returns.iter().enumerate() {
            if self.instruments[..column].contains(&self.instruments[column]) {
                return refuse(
                    format!("instruments[{column}]"),
                    "it stands there twice; leave one out".into(),
                );
            }
            if returns.len() != count {
                let reason = format!("it has {} returns, the first list has {count}", returns.len());
                return refuse(format!("returns[{column}]"), reason);
            }
            if let Some(at) =
                returns.iter().position(|value| !value.is_finite() || value.abs() > crate::live::RETURN_MAX)
            {
                return refuse(
                    format!("returns[{column}][{at}]"),
                    "a return is a finite number such as -0.012".into(),
                );
            }
        }
        Ok(())
    }
}

/// A checked set with the model that follows from it: what takes long is done before the engine hears of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenarios {
    pub(crate) set: ScenarioSet,
    pub(crate) loadings: Loadings,
}

impl Scenarios {
    /// Checks a set and makes its model. Takes time in proportion to scenarios times the square of instruments.
    ///
    /// # Errors
    /// The first thing that is wrong with the set.
    pub fn new(set: ScenarioSet) -> Result<Self, RiskError> {
        set.check()?;
        let loadings = Model::loadings(&set, &Hardware::reproducible())?;
        Ok(Self { set, loadings })
    }
}

/// What a node holds of an instrument, in the node's currency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Exposure {
    /// As positions are.
    pub(crate) held: f64,
    /// With all open orders filled.
    pub(crate) projected: f64,
}

/// The live measures.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) set: ScenarioSet,
    cube: Cube,
    factors: FactorModel,
    /// The number of a row's instrument in both.
    numbers: Vec<u32>,
    rows: Vec<u32>,
    /// Nodes and instruments' numbers of which the cube has not been told the newest, which stands in `newest`.
    pending: Vec<(u32, u32)>,
    /// By node and number; NaN where the cube knows.
    newest: Vec<Vec<f64>>,
    hardware: Hardware,
}

/// Measures of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) tail: TailRisk,
    /// 99 % value at risk of the factor model, all open orders filled.
    pub(crate) factor_var: f64,
}

impl Model {
    pub(crate) fn new() -> Self {
        let empty = Loadings::empty(0, 0).expect("nothing is a model of nothing");
        Self {
            set: ScenarioSet::default(),
            cube: Cube::new(1, REBUILD_EVERY).expect("one scenario is a legal number"),
            factors: FactorModel::new(empty, REBUILD_EVERY),
            numbers: Vec::new(),
            rows: Vec::new(),
            pending: Vec::new(),
            newest: Vec::new(),
            hardware: Hardware::reproducible(),
        }
    }

    /// The loadings that a checked set gives: the part of taking one in that takes long.
    pub(crate) fn loadings(set: &ScenarioSet, hardware: &Hardware) -> Result<Loadings, RiskError> {
        let mut cube = Cube::new(set.len(), REBUILD_EVERY)?;
        for _ in &set.instruments {
            cube.add_instrument()?;
        }
        let columns: Vec<Option<&[f64]>> =
            set.returns.iter().map(|returns| Some(returns.as_slice())).collect();
        cube.replace(set.len(), &columns)?;
        Loadings::of_scenarios(hardware, cube.scenarios(), FACTORS.min(set.len() - 1))
    }

    /// Takes a checked set in, whose instruments stand in these rows. All exposures are to be told again.
    pub(crate) fn adopt(
        &mut self,
        set: ScenarioSet,
        loadings: Option<Loadings>,
        rows: &[u32],
    ) -> Result<(), RiskError> {
        let loadings = loadings.map_or_else(|| Self::loadings(&set, &self.hardware), Ok)?;
        let mut cube = Cube::new(set.len(), REBUILD_EVERY)?;
        for _ in rows {
            cube.add_instrument()?;
        }
        let columns: Vec<Option<&[f64]>> =
            set.returns.iter().map(|returns| Some(returns.as_slice())).collect();
        cube.replace(set.len(), &columns)?;
        let factors = FactorModel::new(loadings, REBUILD_EVERY);
        (self.cube, self.factors, self.set) = (cube, factors, set);
        self.numbers.clear();
        self.rows.clear();
        self.pending.clear();
        self.newest.clear();
        for &row in rows {
            self.enter(row);
        }
        Ok(())
    }

    fn enter(&mut self, row: u32) -> u32 {
        let number = self.rows.len() as u32;
        if self.numbers.len() <= row as usize {
            self.numbers.resize(row as usize + 1, NOWHERE);
        }
        self.numbers[row as usize] = number;
        self.rows.push(row);
        number
    }

    #[inline]
    fn find(&self, row: u32) -> Option<usize> {
        self.numbers
            .get(row as usize)
            .copied()
            .filter(|number| *number != NOWHERE)
            .map(|number| number as usize)
    }

    /// What a node holds has changed. An instrument that is in no scenario is held, too: measures say so.
    #[inline]
    pub(crate) fn update(&mut self, node: u32, row: u32, exposure: Exposure) {
        if self.set.is_empty() {
            return;
        }
        let told = self.find(row).map_or_else(|| self.admit(row), Ok).and_then(|number| {
            while self.factors.portfolios() <= node as usize {
                self.factors.add_portfolio()?;
                self.cube.add_portfolio()?;
            }
            self.factors.set_value(node as usize, number, exposure.projected)?;
            self.keep(node, number, exposure.held);
            Ok(())
        });
        debug_assert!(told.is_ok(), "positions are within what measures take: {told:?}");
    }

    #[cold]
    fn admit(&mut self, row: u32) -> Result<usize, RiskError> {
        self.factors.add_instrument()?;
        self.cube.add_instrument()?;
        Ok(self.enter(row) as usize)
    }

    #[inline]
    fn keep(&mut self, node: u32, number: usize, held: f64) {
        if self.newest.len() <= node as usize {
            self.newest.resize_with(node as usize + 1, Vec::new);
        }
        let newest = &mut self.newest[node as usize];
        if newest.len() <= number {
            newest.resize(number + 1, f64::NAN);
        }
        if std::mem::replace(&mut newest[number], held).is_nan() {
            self.pending.push((node, number as u32));
        }
    }

    /// Tells the cube what it has not been told.
    pub(crate) fn refresh(&mut self) {
        for (node, number) in self.pending.drain(..) {
            let held = std::mem::replace(&mut self.newest[node as usize][number as usize], f64::NAN);
            let told = self.cube.set_value(node as usize, number as usize, held);
            debug_assert!(told.is_ok(), "positions are within what measures take: {told:?}");
        }
    }

    /// 99 % value at risk of a node before and after a change of what it holds, in billionths; `None` where the instrument
    /// is in no scenario, or the node holds one that is in none.
    #[inline]
    pub(crate) fn var_after(&self, node: u32, row: u32, change: f64) -> Option<(i128, i128)> {
        let number = self.find(row)?;
        let node = node as usize;
        if node >= self.factors.portfolios() {
            // It holds nothing yet.
            let alone = self.factors.loadings().deviation(number)?;
            return Some((0, billionths(Z99 * alone * change.abs())));
        }
        if self.factors.uncovered(node).ok()?.next().is_some() {
            return None;
        }
        let after = self.factors.sigma_after(node, number, change).ok()??;
        let before = self.factors.sigma(node).ok()?;
        Some((billionths(Z99 * before), billionths(Z99 * after)))
    }

    /// Measures of a node; `None` where there are no scenarios or it never held anything.
    pub(crate) fn measure(&self, node: u32, confidence: f64) -> Option<Result<Measured, RiskError>> {
        if self.set.is_empty() || node as usize >= self.cube.portfolios() {
            return None;
        }
        let tail = self.cube.measure(node as usize, confidence, &mut Scratch::default());
        let measured =
            tail.and_then(|tail| Ok(Measured { tail, factor_var: Z99 * self.factors.sigma(node as usize)? }));
        Some(measured)
    }

    /// What the measures would be after trades.
    pub(crate) fn what_if(
        &self,
        node: u32,
        changes: &[(u32, f64)],
        confidence: f64,
    ) -> Option<Result<(TailRisk, TailRisk), RiskError>> {
        if self.set.is_empty() || node as usize >= self.cube.portfolios() {
            return None;
        }
        let changes = changes.iter().map(|(row, value_change)| {
            let number = self.find(*row).ok_or_else(|| {
                RiskError::new(
                    "not_in_scenarios",
                    "trades",
                    "an instrument is in no scenario; PUT /v1/scenarios has to name it",
                )
            })?;
            Ok(Change { instrument: number, value_change: *value_change })
        });
        let mut scratch = Scratch::default();
        Some(changes.collect::<Result<Vec<_>, _>>().and_then(|changes| {
            let before = self.cube.measure(node as usize, confidence, &mut scratch)?;
            Ok((before, self.cube.what_if(node as usize, &changes, confidence, &mut scratch)?))
        }))
    }

    /// What a node holds of each instrument of the set, in the set's order.
    pub(crate) fn held(&self, node: u32) -> Vec<f64> {
        let value = |number: usize| self.cube.value(node as usize, number).unwrap_or(0.0);
        (0..self.set.instruments.len()).map(value).collect()
    }

    /// P&L of a node in each scenario.
    pub(crate) fn pnl(&self, node: u32) -> &[f64] {
        self.cube.pnl(node as usize).unwrap_or_default()
    }

    /// Rows of instruments that a node holds and no scenario has, with their values.
    pub(crate) fn uncovered(&self, node: u32) -> Vec<(u32, f64)> {
        let uncovered = self.cube.uncovered(node as usize);
        uncovered
            .map(|all| all.map(|(number, value)| (self.rows[number], value)).collect())
            .unwrap_or_default()
    }
}

/// Rounded away from zero: a limit is never passed by a rounding.
#[allow(clippy::cast_possible_truncation)]
fn billionths(amount: f64) -> i128 {
    (amount * 1e9).ceil() as i128
}
