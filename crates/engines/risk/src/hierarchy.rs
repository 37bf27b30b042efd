//! The firm, its portfolios, their books and strategies: names, limits, and what all positions below add up to.

use std::collections::BTreeSet;

use nautilus_messages::mesh::{Desk, Scope};
use nautilus_types::{Currency, DeskName, Money};
use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::limits::{Limits, Thresholds};

/// The firm's node.
pub(crate) const FIRM: u32 = 0;
/// No row, node or cell.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// Nodes at most, the firm included.
pub(crate) const NODES_MAX: usize = 4_096;

/// Whether orders are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TradingState {
    /// Orders within their limits are.
    #[default]
    Active,
    /// Only orders that reduce a position are.
    Reducing,
    /// None are; cancels always are.
    Halted,
}

/// Accepted orders of the last second, as a bucket that fills by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Orders that may still come, in billionths.
    tokens: u64,
    /// When that was.
    at_ns: u64,
}

const TOKEN: u64 = 1_000_000_000;

impl Bucket {
    /// What is there at an instant, where `rate` orders a second come in and no more than a second's worth is kept.
    #[inline]
    pub(crate) fn filled(self, rate: u32, now_ns: u64) -> u64 {
        let full = u64::from(rate) * TOKEN;
        // A nanosecond is worth `rate` billionths of an order.
        let gained = now_ns.saturating_sub(self.at_ns).saturating_mul(u64::from(rate));
        self.tokens.saturating_add(gained).min(full)
    }

    #[inline]
    pub(crate) fn has_one(self, rate: u32, now_ns: u64) -> bool {
        self.filled(rate, now_ns) >= TOKEN
    }

    #[inline]
    pub(crate) fn take(&mut self, rate: u32, now_ns: u64) {
        let tokens = self.filled(rate, now_ns).saturating_sub(TOKEN);
        *self = Self { tokens, at_ns: now_ns.max(self.at_ns) };
    }
}

/// A part of the hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) scope: Scope,
    pub(crate) parent: u32,
    pub(crate) currency: Currency,
    /// Of a portfolio; the parts of one have its, the firm the sum of all in its own currency.
    pub(crate) capital: Money,
    /// Apart from the rest, which every order reads.
    limits: Box<Limits>,
    /// What of them every order reads.
    #[serde(skip)]
    pub(crate) least: Thresholds,
    pub(crate) state: TradingState,
    pub(crate) bucket: Bucket,
    /// Highest profit so far, of those that were looked at.
    pub(crate) peak: i128,
    /// Profit when the day began.
    pub(crate) day_start: i128,
    /// What follows from the positions; made anew after a restart.
    #[serde(skip)]
    pub(crate) sums: Sums,
}

/// What the positions of a node add up to, in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) gross: i128,
    /// Signed, when every open order to buy is filled, and none to sell.
    pub(crate) long: i128,
    /// Signed, when every open order to sell is filled, and none to buy.
    pub(crate) short: i128,
    /// Signed, as positions stand.
    pub(crate) net: i128,
    pub(crate) profit: i128,
    /// Positions without a price of the market or a rate: what is known of the rest is not all.
    pub(crate) unvalued: u32,
}

impl Node {
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: Box<Limits>) {
        self.least = Thresholds::from(&*limits);
        self.limits = limits;
    }

    /// Capital and profit.
    pub(crate) fn equity(&self) -> i128 {
        self.capital.nanos().saturating_add(self.sums.profit)
    }

    pub(crate) fn daily_loss(&self) -> i128 {
        self.day_start.saturating_sub(self.sums.profit)
    }

    pub(crate) fn drawdown(&self) -> i128 {
        self.peak.saturating_sub(self.sums.profit).max(0)
    }
}

/// All nodes. A node's number stays; parents stand before their children.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) nodes: Vec<Node>,
    by_desk: Index<72>,
}

fn key(desk: &Desk) -> [u8; 72] {
    let mut key = [0; 72];
    key[..24].copy_from_slice(&desk.portfolio.to_bytes());
    key[24..48].copy_from_slice(&desk.book.to_bytes());
    key[48..].copy_from_slice(&desk.strategy.to_bytes());
    key
}

fn desk(scope: &Scope) -> Option<Desk> {
    Some(Desk { portfolio: scope.portfolio?, book: scope.book?, strategy: scope.strategy? })
}

fn key_of(nodes: &[Node], number: u32) -> [u8; 72] {
    desk(&nodes[number as usize].scope).map_or([0; 72], |desk| key(&desk))
}

impl Hierarchy {
    pub(crate) fn new(currency: Currency) -> Self {
        let mut this = Self { nodes: Vec::new(), by_desk: Index::default() };
        this.push(Scope::default(), NOWHERE, currency);
        this
    }

    /// From nodes that were kept.
    pub(crate) fn from_nodes(nodes: Vec<Node>) -> Result<Self, String> {
        let mut this = Self { nodes, by_desk: Index::default() };
        let is_firm = |node: &Node| node.scope == Scope::default() && node.parent == NOWHERE;
        let firm_is_first = this.nodes.first().is_some_and(is_firm);
        let in_order = |(number, node): (usize, &Node)| (node.parent as usize) < number;
        let scopes: BTreeSet<Scope> = this.nodes.iter().map(|node| node.scope).collect();
        if !firm_is_first
            || this.nodes.len() > NODES_MAX
            || scopes.len() != this.nodes.len()
            || !this.nodes.iter().enumerate().skip(1).all(in_order)
        {
            return Err("its portfolios contradict each other".to_owned());
        }
        for number in 0..this.nodes.len() as u32 {
            let node = &mut this.nodes[number as usize];
            node.least = Thresholds::from(&*node.limits);
            this.enter(number);
        }
        Ok(this)
    }

    fn push(&mut self, scope: Scope, parent: u32, currency: Currency) -> u32 {
        let number = self.nodes.len() as u32;
        self.nodes.push(Node {
            scope,
            parent,
            currency,
            capital: Money::ZERO,
            limits: Box::default(),
            least: Thresholds::default(),
            state: TradingState::Active,
            bucket: Bucket::default(),
            peak: 0,
            day_start: 0,
            sums: Sums::default(),
        });
        self.enter(number);
        number
    }

    fn enter(&mut self, number: u32) {
        if let Some(desk) = desk(&self.nodes[number as usize].scope) {
            let nodes = &self.nodes;
            self.by_desk.insert(&key(&desk), number, |number| key_of(nodes, number));
        }
    }

    /// The node of a strategy.
    #[inline]
    pub(crate) fn leaf(&self, desk: &Desk) -> Option<u32> {
        self.by_desk.find(&key(desk), |number| key_of(&self.nodes, number))
    }

    /// The node of any part.
    pub(crate) fn find(&self, scope: &Scope) -> Option<u32> {
        match desk(scope) {
            Some(desk) => self.leaf(&desk),
            None => self.nodes.iter().position(|node| node.scope == *scope).map(|number| number as u32),
        }
    }

    /// The node of a part, made where there is none yet.
    pub(crate) fn admit(&mut self, scope: Scope, parent: u32, currency: Currency) -> u32 {
        self.find(&scope).unwrap_or_else(|| self.push(scope, parent, currency))
    }

    pub(crate) fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    /// A node and all above it, the firm last.
    #[inline]
    pub(crate) fn path(&self, number: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(number), |number| {
            Some(self.nodes[*number as usize].parent).filter(|parent| *parent != NOWHERE)
        })
    }

    /// The nodes of a portfolio and of all its parts.
    pub(crate) fn parts(&self, portfolio: DeskName) -> impl Iterator<Item = u32> {
        let within = move |node: &Node| node.scope.portfolio == Some(portfolio);
        (0..).zip(&self.nodes).filter(move |(_, node)| within(node)).map(|(number, _)| number)
    }

    pub(crate) fn portfolios(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.parent == FIRM).map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_by_time_and_holds_a_second() {
        let mut bucket = Bucket::default();
        let second = 1_000_000_000;
        assert!(bucket.has_one(10, second), "it begins full");
        let mut taken = 0;
        while bucket.has_one(10, second) {
            bucket.take(10, second);
            taken += 1;
        }
        assert_eq!(taken, 10);
        assert!(!bucket.has_one(10, second + second / 10 - 1));
        assert!(bucket.has_one(10, second + second / 10));
        assert!(!bucket.has_one(10, 0), "time that goes back brings nothing");
        assert!(!Bucket::default().has_one(0, u64::MAX), "no order a second is none");
    }

    #[test]
    fn nodes_are_found_by_name_and_know_what_is_above() {
        let usd = "USD".parse().unwrap();
        let mut all = Hierarchy::new(usd);
        let name = |text: &str| Some(text.parse::<DeskName>().unwrap());
        let portfolio = Scope { portfolio: name("p"), ..Scope::default() };
        let book = Scope { book: name("b"), ..portfolio };
        let strategy = Scope { strategy: name("s"), ..book };
        let p = all.admit(portfolio, FIRM, usd);
        let b = all.admit(book, p, usd);
        let s = all.admit(strategy, b, usd);
        assert_eq!(all.admit(strategy, b, usd), s);
        assert_eq!(all.leaf(&desk(&strategy).unwrap()), Some(s));
        assert_eq!(all.path(s).collect::<Vec<_>>(), [s, b, p, FIRM]);
        assert_eq!(all.parts("p".parse().unwrap()).collect::<Vec<_>>(), [p, b, s]);
        assert_eq!(all.find(&Scope { portfolio: name("q"), ..Scope::default() }), None);
        let again = Hierarchy::from_nodes(all.nodes.clone()).unwrap();
        assert_eq!(again.leaf(&desk(&strategy).unwrap()), Some(s));
        let mut broken = all.nodes.clone();
        broken[1].parent = 3;
        assert!(Hierarchy::from_nodes(broken).is_err());
        assert!(Hierarchy::from_nodes(Vec::new()).is_err());
        let mut circular = all.nodes.clone();
        circular[0].parent = FIRM;
        assert!(Hierarchy::from_nodes(circular).is_err());
        let mut twice = all.nodes.clone();
        twice.push(twice[3].clone());
        assert!(Hierarchy::from_nodes(twice).is_err());
    }
}
