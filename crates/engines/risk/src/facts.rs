//! What the journal holds: everything that must be as it was after a crash.
//!
//! Facts are applied in one place, while they happen and when they are read back. In front of each stands the market's
//! time. Variants are only ever added, at the end: a journal outlives the version that wrote it.
//!
//! What the star says again is no fact: marks, the numbers of instruments and their order, contracts that nothing refers
//! to, the market's time since the last fact, and which alerts were sent.

use nautilus_messages::mesh::{OrderRequest, PositionChange, Reasons, Scope, Uid};
use nautilus_types::{Currency, DeskName, Money, Symbol};
use serde::{Deserialize, Serialize};

use crate::forecasts::{Forecast, ForecastRow};
use crate::hierarchy::TradingState;
use crate::limits::Limits;
use crate::positions::Contract;

/// A change that needs a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Other limits.
    Limits(Box<Limits>),
    /// The kill switch back.
    State(TradingState),
    /// The dead-man timer in milliseconds, later or off (0).
    DeadMan(u64),
    /// A portfolio's capital, which concentration is measured against.
    Capital(Money),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// An instrument that orders or executions refer to.
    Instrument {
        symbol: Symbol,
        contract: Contract,
    },
    Portfolio(Portfolio),
    Rates {
        rates: Vec<(Currency, i64)>,
        by: String,
    },
    /// A change came into force; with whoever approved it, where that was needed.
    Changed {
        scope: Scope,
        change: Change,
        by: String,
        approved_by: Option<String>,
        proposal: Option<u64>,
        reason: String,
    },
    Proposed {
        id: u64,
        scope: Scope,
        change: Change,
        by: String,
        reason: String,
    },
    Withdrawn {
        id: u64,
        by: String,
    },
    Decision {
        request: OrderRequest,
        reasons: Reasons,
        warnings: Reasons,
    },
    Cancel {
        order_id: Uid,
    },
    Execution(PositionChange),
    /// A day began, with every node's profit.
    Day {
        day: u64,
        nodes: Vec<(Scope, i128)>,
    },
    /// Scenarios are coming, one list for each instrument.
    Scenarios {
        instruments: Vec<Symbol>,
        by: String,
    },
    /// The next list.
    Returns(Vec<f64>),
    /// A day's forecast of a portfolio was closed, and the next one made.
    Forecast {
        portfolio: DeskName,
        closed: Option<ForecastRow>,
        next: Option<Forecast>,
    },
    /// Nodes have made more than ever.
    Peaks(Vec<(Scope, i128)>),
    /// Closing prices of a day that is over, in billionths; given by somebody, or the market's.
    Closes {
        day: u64,
        closes: Vec<(Symbol, i64)>,
        by: Option<String>,
    },
    /// Scenarios of closes are coming, one list for each instrument.
    Collected {
        instruments: Vec<Symbol>,
        revision: u64,
    },
    /// The scenarios in force are taken back.
    ScenariosWithdrawn {
        by: String,
    },
}

/// A portfolio as it is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portfolio {
    /// Its name.
    pub name: DeskName,
    /// What its limits and profits are counted in.
    pub currency: Currency,
    /// What concentration and drawdown are measured against; above zero.
    pub capital: Money,
    /// Books with their strategies.
    pub books: Vec<(DeskName, Vec<DeskName>)>,
    /// Who declared it.
    pub by: String,
}
