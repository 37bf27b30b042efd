//! Every position, marked, and what positions add up to at each part of the hierarchy: updated per execution, order and
//! price.
//!
//! A cell is one instrument at one node. A strategy's cell has the account; a cell further up has the sum of the
//! quantities below, because exposures net there. Profit is not netted: what strategies made is added, so that it
//! adds up to the billionth.

use std::collections::BTreeMap;

use nautilus_engine::Roster;
use nautilus_messages::mesh::{Desk, Scope};
use nautilus_types::{
    Currency, DeskName, Instrument, InstrumentId, Money, Price, Quantity, Side, Symbol, UnixNanos,
};
use serde::{Deserialize, Serialize};

use crate::RiskError;
use crate::account::Account;
use crate::hierarchy::{FIRM, Hierarchy, NOWHERE};
use crate::index::Index;
use crate::limits::Limits;
use crate::live::Loadings;
use crate::model::{Exposure, Model, ScenarioSet};
use crate::money::{Rate, unit_price, worth};

/// Instruments at most.
pub(crate) const ROWS_MAX: usize = 65_536;
/// An amount beyond this is none: a million of them still add up within 128 bits.
const AMOUNT_MAX: i128 = 1 << 106;

/// What of an instrument's definition matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contract {
    pub(crate) currency: Currency,
    pub(crate) tick: Price,
    pub(crate) lot: Quantity,
    pub(crate) multiplier: Quantity,
}

impl From<&Instrument> for Contract {
    fn from(instrument: &Instrument) -> Self {
        let Instrument { currency, tick, lot, multiplier, .. } = *instrument;
        Self { currency, tick, lot, multiplier }
    }
}

/// What an instrument is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) price: i64,
    /// When the market said so; zero where it has not yet, and an execution's price is all there is.
    pub(crate) at: UnixNanos,
    /// From a live feed, so that the wall clock tells its age; a recording's is told by the recording's time.
    pub(crate) live: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) contract: Option<Contract>,
    /// The journal has the definition.
    pub(crate) recorded: bool,
    pub(crate) mark: Option<Mark>,
    /// Quotes mark it; trades do only where there are no quotes.
    pub(crate) quoted: bool,
    /// The source starts over: what comes next may have happened before what came last.
    pub(crate) starts_over: bool,
    /// Price of one unit at the mark.
    #[serde(skip)]
    pub(crate) unit: Option<i64>,
    /// Cells of this instrument.
    #[serde(skip)]
    holders: Vec<u32>,
    /// Nodes that have it on their restricted list, ascending.
    #[serde(skip)]
    restricted_by: Vec<u32>,
}

/// One instrument at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) node: u32,
    pub(crate) row: u32,
    /// A strategy's.
    pub(crate) account: Option<Account>,
    pub(crate) quantity: i64,
    /// Left of accepted orders.
    pub(crate) open_buy: i64,
    pub(crate) open_sell: i64,
    /// The newest accepted orders of a strategy, to know one that comes twice.
    pub(crate) recent: [Option<Recent>; 4],
    #[serde(skip)]
    pub(crate) worth: Worth,
}

/// An accepted order as far as it may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recent {
    pub(crate) side: Side,
    pub(crate) quantity: i64,
    pub(crate) limit: Option<Price>,
    pub(crate) at: UnixNanos,
}

/// What a cell adds to its node, in the node's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Worth {
    pub(crate) gross: i128,
    pub(crate) long: i128,
    pub(crate) short: i128,
    pub(crate) net: i128,
    /// A strategy's, in its own and in the firm's currency.
    profit: i128,
    firm_profit: i128,
    /// Without a price of the market or a rate.
    pub(crate) unvalued: bool,
}

impl Cell {
    fn new(node: u32, row: u32, is_leaf: bool) -> Self {
        let account = is_leaf.then(Account::default);
        let (quantity, open_buy, open_sell) = (0, 0, 0);
        Self { node, row, account, quantity, open_buy, open_sell, recent: [None; 4], worth: Worth::default() }
    }

    /// Whether nothing is held or ordered.
    #[inline]
    fn is_flat(&self) -> bool {
        (self.quantity, self.open_buy, self.open_sell) == (0, 0, 0)
    }

    /// Whether nothing is held, ordered or was made.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_flat() && self.account.is_none_or(|account| account == Account::default())
    }
}

/// All positions.
#[derive(Debug)]
pub(crate) struct Positions {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) roster: Roster,
    /// Rows by symbol: every order asks.
    by_symbol: Index<24>,
    pub(crate) rows: Vec<Row>,
    pub(crate) cells: Vec<Cell>,
    /// Cells by node and row: most strategies trade few of all instruments.
    by_place: Index<8>,
    /// Cells of each node, in order of first use.
    by_node: Vec<Vec<u32>>,
    /// What a unit of a currency is worth in the firm's, in billionths.
    pub(crate) rates: BTreeMap<Currency, i64>,
    pub(crate) model: Model,
}

impl Positions {
    pub(crate) fn new(currency: Currency) -> Self {
        Self {
            hierarchy: Hierarchy::new(currency),
            roster: Roster::default(),
            by_symbol: Index::default(),
            rows: Vec::new(),
            cells: Vec::new(),
            by_place: Index::default(),
            by_node: Vec::new(),
            rates: BTreeMap::new(),
            model: Model::new(),
        }
    }

    /// The firm's currency.
    pub(crate) fn currency(&self) -> Currency {
        self.hierarchy.node(FIRM).currency
    }

    #[inline]
    pub(crate) fn cell(&self, node: u32, row: u32) -> Option<&Cell> {
        self.place(node, row).map(|place| &self.cells[place as usize])
    }

    #[inline]
    fn place(&self, node: u32, row: u32) -> Option<u32> {
        self.by_place.find(&key(node, row), |place| key_of(&self.cells, place))
    }

    fn admit(&mut self, node: u32, row: u32) -> u32 {
        if let Some(place) = self.place(node, row) {
            return place;
        }
        let place = self.cells.len() as u32;
        let scope: &Scope = &self.hierarchy.node(node).scope;
        self.cells.push(Cell::new(node, row, scope.strategy.is_some()));
        self.enter(place);
        place
    }

    fn enter(&mut self, place: u32) {
        let cells = &self.cells;
        self.by_place.insert(&key_of(cells, place), place, |place| key_of(cells, place));
        let Cell { node, row, .. } = cells[place as usize];
        self.rows[row as usize].holders.push(place);
        if self.by_node.len() <= node as usize {
            self.by_node.resize_with(node as usize + 1, Vec::new);
        }
        self.by_node[node as usize].push(place);
    }

    /// The row of a symbol, made where there is none. `None` when there are too many.
    pub(crate) fn row(&mut self, symbol: Symbol) -> Option<u32> {
        let row = self.roster.admit(symbol, ROWS_MAX)?;
        self.grow();
        Some(row)
    }

    /// Takes an instrument's number in; see [`Roster::define`].
    pub(crate) fn number(&mut self, id: InstrumentId, symbol: Symbol) -> Option<u32> {
        let defined = self.roster.define(id, symbol, ROWS_MAX)?;
        self.grow();
        Some(defined.row)
    }

    /// Rows for all that the roster has.
    fn grow(&mut self) {
        while self.rows.len() < self.roster.len() {
            self.enter_row(self.rows.len() as u32);
            self.rows.push(Row::default());
            self.restrict(self.rows.len() as u32 - 1);
        }
    }

    /// Finds out who restricts an instrument.
    fn restrict(&mut self, row: u32) {
        let symbol = self.roster.symbol(row);
        let nodes = (0..).zip(&self.hierarchy.nodes);
        let restricted_by = nodes.filter(|(_, node)| node.limits().restricts(symbol));
        self.rows[row as usize].restricted_by = restricted_by.map(|(number, _)| number).collect();
    }

    /// Whether an instrument is on a node's restricted list.
    #[inline]
    pub(crate) fn is_restricted(&self, row: u32, node: u32) -> bool {
        self.rows[row as usize].restricted_by.binary_search(&node).is_ok()
    }

    /// Other limits of a node.
    pub(crate) fn limit(&mut self, node: u32, limits: Box<Limits>) {
        for (row, entry) in (0..).zip(&mut self.rows) {
            let restricts = limits.restricts(self.roster.symbol(row));
            match entry.restricted_by.binary_search(&node) {
                Ok(at) if !restricts => drop(entry.restricted_by.remove(at)),
                Err(at) if restricts => entry.restricted_by.insert(at, node),
                _ => {}
            }
        }
        self.hierarchy.nodes[node as usize].set_limits(limits);
    }

    fn enter_row(&mut self, row: u32) {
        let roster = &self.roster;
        self.by_symbol.insert(&roster.symbol(row).to_bytes(), row, |row| roster.symbol(row).to_bytes());
    }

    /// The row of a symbol, if there is one.
    #[inline]
    pub(crate) fn find(&self, symbol: Symbol) -> Option<u32> {
        self.by_symbol.find(&symbol.to_bytes(), |row| self.roster.symbol(row).to_bytes())
    }

    /// The contract behind a row; a changed one changes what positions are worth.
    pub(crate) fn define(&mut self, row: u32, contract: Contract) {
        let entry = &mut self.rows[row as usize];
        if entry.contract != Some(contract) {
            entry.contract = Some(contract);
            entry.recorded = false;
            self.revalue(row);
        }
    }

    /// A price of the market.
    #[inline]
    pub(crate) fn mark(&mut self, row: u32, mark: Mark) {
        let entry = &mut self.rows[row as usize];
        let moved = entry.mark.is_none_or(|old| old.price != mark.price || old.at == UnixNanos(0));
        entry.mark = Some(mark);
        if moved {
            self.revalue(row);
        }
    }

    #[inline]
    fn revalue(&mut self, row: u32) {
        let entry = &mut self.rows[row as usize];
        let unit = |contract: Contract| unit_price(entry.mark?.price, contract.multiplier.nanos());
        entry.unit = entry.contract.and_then(unit);
        for holder in 0..entry.holders.len() {
            self.settle(self.rows[row as usize].holders[holder]);
        }
    }

    /// From an instrument's currency into a node's; `None` without a rate.
    #[inline]
    pub(crate) fn rate(&self, row: u32, node: u32) -> Option<Rate> {
        let from = self.rows[row as usize].contract?.currency;
        self.exchange(from, self.hierarchy.node(node).currency)
    }

    fn exchange(&self, from: Currency, to: Currency) -> Option<Rate> {
        if from == to {
            return Some(Rate::SAME);
        }
        let worth = |currency: Currency| {
            if currency == self.currency() {
                Some(nautilus_types::SCALE)
            } else {
                self.rates.get(&currency).copied()
            }
        };
        Some(Rate { from: worth(from)?, to: worth(to)? })
    }

    /// Recomputes what a cell is worth and passes the difference on.
    fn settle(&mut self, place: u32) {
        let cell = &self.cells[place as usize];
        let (old, node) = (cell.worth, cell.node);
        let new = self.worth(cell);
        let (row, exposure) = (cell.row, self.exposure(cell, &new));
        self.cells[place as usize].worth = new;
        self.model.update(node, row, exposure);
        let nodes = &mut self.hierarchy.nodes;
        let sums = &mut nodes[node as usize].sums;
        sums.gross += new.gross - old.gross;
        sums.long += new.long - old.long;
        sums.short += new.short - old.short;
        sums.net += new.net - old.net;
        sums.unvalued = sums.unvalued + u32::from(new.unvalued) - u32::from(old.unvalued);
        let (made, firm_made) = (new.profit - old.profit, new.firm_profit - old.firm_profit);
        if made == 0 && firm_made == 0 {
            return;
        }
        let mut number = node;
        while number != FIRM {
            nodes[number as usize].sums.profit += made;
            number = nodes[number as usize].parent;
        }
        nodes[FIRM as usize].sums.profit += firm_made;
    }

    /// Nothing where the worth is not known: sums and measures say so.
    fn exposure(&self, cell: &Cell, worth: &Worth) -> Exposure {
        let per_unit = self.per_unit(cell.row, cell.node).filter(|_| !worth.unvalued).unwrap_or(0.0);
        let units = |quantity: i64| Quantity::from_nanos(quantity).to_f64();
        let projected = cell.quantity.saturating_add(cell.open_buy).saturating_sub(cell.open_sell);
        Exposure { held: units(cell.quantity) * per_unit, projected: units(projected) * per_unit }
    }

    /// What a unit of an instrument is worth in a node's currency.
    #[inline]
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn per_unit(&self, row: u32, node: u32) -> Option<f64> {
        let unit = Price::from_nanos(self.rows[row as usize].unit?).to_f64();
        let Rate { from, to } = self.rate(row, node)?;
        Some(if from == to { unit } else { unit * (from as f64 / to as f64) })
    }

    /// Takes in another set of scenarios, checked before.
    ///
    /// # Errors
    /// When no model can be made of it; nothing is changed then.
    pub(crate) fn adopt(&mut self, set: ScenarioSet, loadings: Option<Loadings>) -> Result<(), RiskError> {
        let rows = set.instruments.iter().map(|symbol| self.row(*symbol)).collect::<Option<Vec<u32>>>();
        let rows =
            rows.ok_or_else(|| RiskError::new("too_many_instruments", "instruments", "there are too many"))?;
        self.model.adopt(set, loadings, &rows)?;
        for place in 0..self.cells.len() {
            let cell = &self.cells[place];
            let (node, row, exposure) = (cell.node, cell.row, self.exposure(cell, &cell.worth));
            self.model.update(node, row, exposure);
        }
        self.model.refresh();
        Ok(())
    }

    fn worth(&self, cell: &Cell) -> Worth {
        let nothing = Worth { unvalued: !cell.is_empty(), ..Worth::default() };
        self.valued(cell).unwrap_or(nothing)
    }

    fn valued(&self, cell: &Cell) -> Option<Worth> {
        let row = &self.rows[cell.row as usize];
        let is_flat = cell.is_flat();
        // What is closed needs no price any more.
        let unit = if is_flat { 0 } else { row.unit? };
        let rate = self.rate(cell.row, cell.node)?;
        let value = |quantity: i64| within(rate.convert(worth(quantity, unit))?);
        let long = value(cell.quantity.checked_add(cell.open_buy)?)?;
        let short = value(cell.quantity.checked_sub(cell.open_sell)?)?;
        let mut worth_ = Worth {
            gross: long.abs().max(short.abs()),
            long,
            short,
            net: value(cell.quantity)?,
            unvalued: !is_flat && row.mark.is_none_or(|mark| mark.at == UnixNanos(0)),
            ..Worth::default()
        };
        if let Some(account) = &cell.account {
            let profit = account.profit(worth(account.quantity, unit))?;
            worth_.profit = within(rate.convert(profit)?)?;
            worth_.firm_profit = within(self.rate(cell.row, FIRM)?.convert(profit)?)?;
        }
        Some(worth_)
    }

    /// A strategy's account once an execution of a signed quantity is booked. `None` when an amount does not fit.
    pub(crate) fn booked(
        &self,
        leaf: u32,
        row: u32,
        quantity: i64,
        price: i64,
        fee: i128,
    ) -> Option<Account> {
        let contract = self.rows[row as usize].contract?;
        let unit = unit_price(price, contract.multiplier.nanos())?;
        let fits = |node: u32| self.cell(node, row).map_or(0, |cell| cell.quantity).checked_add(quantity);
        self.hierarchy.path(leaf).try_for_each(|node| fits(node).map(drop))?;
        let mut account = self.cell(leaf, row).and_then(|cell| cell.account).unwrap_or_default();
        account.book(quantity, worth(quantity, unit), fee)?;
        Some(account)
    }

    /// Books an execution of a signed quantity. `None` when an amount does not fit; nothing is changed then.
    pub(crate) fn book(&mut self, leaf: u32, row: u32, quantity: i64, price: i64, fee: i128) -> Option<()> {
        let account = self.booked(leaf, row, quantity, price, fee)?;
        let place = self.admit(leaf, row) as usize;
        self.cells[place].account = Some(account);
        if quantity != 0 && self.rows[row as usize].mark.is_none() {
            // The only price there is, until the market says one.
            self.rows[row as usize].mark = Some(Mark { price, at: UnixNanos(0), live: true });
            self.revalue(row);
        }
        self.change(leaf, row, |cell| cell.quantity += quantity);
        self.model.refresh();
        Some(())
    }

    /// Adds to, or takes from, what is left of accepted orders.
    pub(crate) fn open(&mut self, leaf: u32, row: u32, side: Side, quantity: i64) {
        self.change(leaf, row, |cell| {
            let open = match side {
                Side::Buy => &mut cell.open_buy,
                Side::Sell => &mut cell.open_sell,
            };
            *open = open.saturating_add(quantity);
        });
    }

    fn change(&mut self, leaf: u32, row: u32, change: impl Fn(&mut Cell)) {
        let mut node = leaf;
        while node != NOWHERE {
            let place = self.admit(node, row);
            change(&mut self.cells[place as usize]);
            self.settle(place);
            node = self.hierarchy.node(node).parent;
        }
    }

    /// Remembers an accepted order of a strategy.
    pub(crate) fn remember(&mut self, leaf: u32, row: u32, order: Recent) {
        let place = self.admit(leaf, row);
        let recent = &mut self.cells[place as usize].recent;
        recent.rotate_right(1);
        recent[0] = Some(order);
    }

    /// What a currency is worth; all that stands in one changes.
    pub(crate) fn exchange_rates(&mut self, rates: BTreeMap<Currency, i64>) {
        self.rates = rates;
        self.add_up_capital();
        (0..self.cells.len() as u32).for_each(|place| self.settle(place));
    }

    /// Currencies that instruments of positions are quoted in and that have a rate.
    pub(crate) fn currencies_with_rate(&self) -> impl Iterator<Item = Currency> {
        let held = self.rows.iter().filter(|row| !row.holders.is_empty());
        held.filter_map(|row| Some(row.contract?.currency))
            .filter(|currency| self.rates.contains_key(currency))
    }

    /// A portfolio's capital, which all of its parts have, and so the firm's.
    pub(crate) fn set_capital(&mut self, portfolio: DeskName, capital: Money) {
        for part in self.hierarchy.parts(portfolio).collect::<Vec<_>>() {
            self.hierarchy.nodes[part as usize].capital = capital;
        }
        self.add_up_capital();
    }

    /// The firm's capital: that of its portfolios.
    pub(crate) fn add_up_capital(&mut self) {
        let capital = |number: u32| {
            let node = self.hierarchy.node(number);
            self.exchange(node.currency, self.currency())?.convert(node.capital.nanos())
        };
        let total = self.hierarchy.portfolios().filter_map(capital).fold(0, i128::saturating_add);
        self.hierarchy.nodes[FIRM as usize].capital = Money::from_nanos(total);
    }

    /// From parts that were kept.
    pub(crate) fn from_parts(
        hierarchy: Hierarchy,
        roster: Roster,
        rows: Vec<Row>,
        cells: Vec<Cell>,
        rates: BTreeMap<Currency, i64>,
    ) -> Result<Self, String> {
        let contradiction = || "its positions contradict each other".to_owned();
        if !roster.is_consistent() || roster.len() != rows.len() || rows.len() > ROWS_MAX {
            return Err("its instruments contradict each other".to_owned());
        }
        let (by_symbol, by_place) = (Index::with_capacity(rows.len()), Index::with_capacity(cells.len()));
        let model = Model::new();
        let by_node = Vec::new();
        let mut this = Self { hierarchy, roster, by_symbol, rows, cells, by_place, by_node, rates, model };
        for row in 0..this.rows.len() as u32 {
            this.enter_row(row);
            this.restrict(row);
        }
        for place in 0..this.cells.len() as u32 {
            let Cell { node, row, account, .. } = this.cells[place as usize];
            let is_leaf = this.hierarchy.nodes.get(node as usize).map(|node| node.scope.strategy.is_some());
            if is_leaf != Some(account.is_some())
                || row as usize >= this.rows.len()
                || this.place(node, row).is_some()
            {
                return Err(contradiction());
            }
            this.enter(place);
        }
        (0..this.rows.len() as u32).for_each(|row| this.revalue(row));
        Ok(this)
    }

    /// A strategy's node, if there is one.
    #[inline]
    pub(crate) fn leaf(&self, desk: &Desk) -> Option<u32> {
        self.hierarchy.leaf(desk)
    }

    /// Cells of a node, in order of first use.
    pub(crate) fn cells_of(&self, node: u32) -> impl Iterator<Item = &Cell> {
        let places = self.by_node.get(node as usize).into_iter().flatten();
        places.map(|place| &self.cells[*place as usize])
    }
}

fn key(node: u32, row: u32) -> [u8; 8] {
    (u64::from(node) << 32 | u64::from(row)).to_le_bytes()
}

fn key_of(cells: &[Cell], place: u32) -> [u8; 8] {
    let Cell { node, row, .. } = cells[place as usize];
    key(node, row)
}

/// An amount that sums can be made of.
#[inline]
pub(crate) fn within(amount: i128) -> Option<i128> {
    (amount.abs() <= AMOUNT_MAX).then_some(amount)
}
