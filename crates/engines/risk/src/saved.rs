//! The state in bytes, and back.

use std::collections::BTreeMap;

use nautilus_engine::{Roster, snapshot};
use nautilus_messages::mesh::{PositionChange, Uid};
use nautilus_types::{Currency, UnixNanos, Venue};
use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::closes::{Closes, Source};
use crate::engine::{DeadMan, RiskEngine, UNBOOKED_MAX};
use crate::forecasts::Forecasts;
use crate::hierarchy::{Hierarchy, Node};
use crate::model::ScenarioSet;
use crate::orders::{Executions, Order, Orders};
use crate::positions::{Cell, Positions, Row};
use crate::proposals::{PROPOSALS_MAX, Proposals};

const VERSION: u8 = 2;

/// What is kept. Everything else follows from it.
#[derive(Serialize, Deserialize)]
struct Saved<R, N, W, C, F, O, E, U, P, A, X, S, L, Q> {
    version: u8,
    roster: R,
    nodes: N,
    rows: W,
    cells: C,
    rates: F,
    orders: O,
    executions: E,
    unbooked: U,
    proposals: P,
    dead_man_ms: u64,
    recorded_at: UnixNanos,
    market: UnixNanos,
    day: u64,
    alerts: A,
    forecasts: X,
    scenarios: S,
    closes: L,
    source: Q,
}

type Owned = Saved<
    Roster,
    Vec<Node>,
    Vec<Row>,
    Vec<Cell>,
    BTreeMap<Currency, i64>,
    Vec<Order>,
    Vec<(Venue, Uid)>,
    Vec<PositionChange>,
    Proposals,
    Alerts,
    Forecasts,
    ScenarioSet,
    Closes,
    Source,
>;

impl RiskEngine {
    pub(crate) fn save(&self) -> Vec<u8> {
        let Positions { hierarchy, roster, rows, cells, rates, .. } = &self.positions;
        let saved = Saved {
            version: VERSION,
            roster,
            nodes: &hierarchy.nodes,
            rows,
            cells,
            rates,
            orders: self.orders.iter().collect::<Vec<_>>(),
            executions: self.executions.iter().collect::<Vec<_>>(),
            unbooked: &self.unbooked,
            proposals: &self.proposals,
            dead_man_ms: self.dead_man.timeout_ms,
            recorded_at: self.recorded_at,
            market: self.clock.market,
            day: self.day,
            alerts: &self.alerts,
            forecasts: &self.forecasts,
            scenarios: &self.positions.model.set,
            closes: &self.closes,
            source: &self.source,
        };
        postcard::to_allocvec(&saved).expect("the state is plain data, which postcard always encodes")
    }

    pub(crate) fn load(&mut self, bytes: &[u8]) -> Result<(), String> {
        let saved: Owned = snapshot::decode(bytes, VERSION)?;
        let hierarchy = Hierarchy::from_nodes(saved.nodes)?;
        let currency = hierarchy.node(crate::hierarchy::FIRM).currency;
        if currency != self.settings.currency {
            let configured = self.settings.currency;
            return Err(format!(
                "it is kept in {currency}, and engines.risk.currency is {configured}; set that back"
            ));
        }
        let mut positions =
            Positions::from_parts(hierarchy, saved.roster, saved.rows, saved.cells, saved.rates)?;
        if saved.unbooked.len() > UNBOOKED_MAX || saved.proposals.iter().count() > PROPOSALS_MAX {
            return Err("it holds more than this engine keeps".to_owned());
        }
        if !saved.forecasts.is_bounded() {
            return Err("its forecasts are more than this engine keeps".to_owned());
        }
        if !saved.closes.is_sound() {
            return Err("its closes are not what this engine keeps".to_owned());
        }
        if !saved.scenarios.instruments.is_empty() {
            saved.scenarios.check().map_err(|error| error.to_string())?;
            positions.adopt(saved.scenarios, None).map_err(|error| error.to_string())?;
        }
        let orders = Orders::from_list(saved.orders, self.settings.orders_remembered)?;
        let (nodes, rows) = (positions.hierarchy.nodes.len(), positions.rows.len());
        let has_place = |order: &Order| (order.leaf as usize) < nodes && (order.row as usize) < rows;
        if orders.iter().any(|order| order.left != 0 && !has_place(order)) {
            return Err("an open order belongs nowhere".to_owned());
        }
        self.positions = positions;
        self.orders = orders;
        self.executions = Executions::from_list(saved.executions, self.settings.orders_remembered);
        self.unbooked = saved.unbooked;
        self.proposals = saved.proposals;
        self.known_until = UnixNanos(0);
        self.dead_man = DeadMan { timeout_ms: saved.dead_man_ms, alive: None };
        self.clock = crate::gate::Clock { now: saved.recorded_at, market: saved.market };
        self.recorded_at = saved.recorded_at;
        self.day = saved.day;
        self.alerts = saved.alerts;
        self.forecasts = saved.forecasts;
        self.closes = saved.closes;
        self.source = saved.source;
        (self.incoming, self.prepared) = (None, None);
        Ok(())
    }
}
