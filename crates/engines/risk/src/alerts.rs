//! Says when a limit was crossed by what the market did, and when trading was stopped.

use std::collections::BTreeMap;

use nautilus_engine::Effects;
use nautilus_messages::mesh::{AlertKind, AlertLevel, Body, PositionChange, Priority, RiskAlert, Scope};
use nautilus_types::{Money, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::Limit;
use crate::hierarchy::{Hierarchy, Node};

/// How often limits are looked at, in market time: the price of one instrument may move a million times a second.
const INTERVAL_NS: u64 = 100_000_000;
/// How often highest profits are looked at: each is a fact, which has to be written.
const PEAKS_INTERVAL_NS: u64 = 1_000_000_000;

/// What was said last, so that it is said once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Alerts {
    levels: BTreeMap<(u32, AlertKind), AlertLevel>,
    looked_at: UnixNanos,
    peaks_at: UnixNanos,
}

impl Alerts {
    /// Whether it is time for a look.
    #[inline]
    pub(crate) fn is_due(&mut self, event: UnixNanos) -> bool {
        let due = event.0.saturating_sub(self.looked_at.0) >= INTERVAL_NS;
        if due {
            self.looked_at = event;
        }
        due
    }

    /// Whether it is time to look at profits.
    pub(crate) fn are_peaks_due(&mut self, event: UnixNanos) -> bool {
        let due = event.0.saturating_sub(self.peaks_at.0) >= PEAKS_INTERVAL_NS;
        if due {
            self.peaks_at = event;
        }
        due
    }

    /// The market's time goes back.
    pub(crate) fn start_over(&mut self) {
        (self.looked_at, self.peaks_at) = (UnixNanos(0), UnixNanos(0));
    }

    /// Sends what has changed at some nodes.
    pub(crate) fn watch(
        &mut self,
        hierarchy: &Hierarchy,
        numbers: impl Iterator<Item = u32>,
        now: UnixNanos,
        out: &mut Effects,
    ) {
        for number in numbers {
            let node = hierarchy.node(number);
            for (kind, limit, used) in watched(node) {
                let verdict = limit.map(|limit| limit.judge(Money::from_nanos(used)));
                let level = match verdict {
                    Some(verdict) if verdict.hard => AlertLevel::Hard,
                    Some(verdict) if verdict.soft => AlertLevel::Soft,
                    _ => AlertLevel::Cleared,
                };
                let nothing_said = self.levels.is_empty();
                if nothing_said && level == AlertLevel::Cleared {
                    continue;
                }
                let said = self.levels.get(&(number, kind)).copied().unwrap_or(AlertLevel::Cleared);
                if level == said {
                    continue;
                }
                match level {
                    AlertLevel::Cleared => self.levels.remove(&(number, kind)),
                    _ => self.levels.insert((number, kind), level),
                };
                let limit = limit.map(|limit| {
                    if level == AlertLevel::Soft { limit.soft.unwrap_or(limit.hard) } else { limit.hard }
                });
                let used = Some(Money::from_nanos(used));
                send(RiskAlert { scope: node.scope, kind, level, limit, used, ts_event: now }, out);
            }
        }
    }

    /// An execution waits for its desk or instrument, or is more than was ordered.
    pub(crate) fn of_execution(
        &self,
        change: &PositionChange,
        kind: AlertKind,
        now: UnixNanos,
        out: &mut Effects,
    ) {
        let desk = change.desk;
        let scope =
            Scope { portfolio: Some(desk.portfolio), book: Some(desk.book), strategy: Some(desk.strategy) };
        self.stopped(scope, kind, AlertLevel::Hard, now, out);
    }

    /// Something without a limit happened.
    #[allow(clippy::unused_self)]
    pub(crate) fn stopped(
        &self,
        scope: Scope,
        kind: AlertKind,
        level: AlertLevel,
        now: UnixNanos,
        out: &mut Effects,
    ) {
        let (limit, used) = (None, None);
        send(RiskAlert { scope, kind, level, limit, used, ts_event: now }, out);
    }
}

fn watched(node: &Node) -> [(AlertKind, Option<Limit<Money>>, i128); 4] {
    let (limits, sums) = (node.limits(), &node.sums);
    [
        (AlertKind::Gross, limits.gross, sums.gross),
        (AlertKind::Net, limits.net, sums.long.abs().max(sums.short.abs())),
        (AlertKind::Drawdown, limits.drawdown, node.drawdown()),
        (AlertKind::DailyLoss, limits.daily_loss, node.daily_loss()),
    ]
}

fn send(alert: RiskAlert, out: &mut Effects) {
    let priority = if alert.level == AlertLevel::Hard { Priority::Critical } else { Priority::High };
    out.send(priority, Body::RiskAlert(alert));
}
