//! What the risk engine says: each portfolio's newest measures, and the firm's newest alerts.
//!
//! It keeps and counts; what a measure or a limit means is the risk engine's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nautilus_messages::EngineName;
use nautilus_messages::mesh::{RiskAlert, RiskMetric};
use nautilus_types::{DeskName, Symbol};
use serde::{Deserialize, Serialize};

use crate::change::{Change, Publication, TopicPicture};
use crate::latest::Latest;
use crate::log::Log;
use crate::topic::Topic;

/// Portfolios; further ones are ignored. The risk engine has no more.
const PORTFOLIOS_MAX: usize = 4_096;
/// Recent alerts kept.
const ALERTS: usize = 100;

/// The topics of risk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Risk {
    portfolios: BTreeMap<DeskName, Latest<RiskMetric>>,
    alerts: Log<RiskAlert, ALERTS>,
    /// Portfolios with measures that readers were not told yet.
    #[serde(skip)]
    changed: BTreeSet<DeskName>,
}

impl Risk {
    pub(crate) fn metric(&mut self, metric: RiskMetric) {
        let portfolio = metric.portfolio;
        if self.portfolios.len() >= PORTFOLIOS_MAX && !self.portfolios.contains_key(&portfolio) {
            return;
        }
        self.portfolios.entry(portfolio).or_default().replace(metric, metric.ts_event);
        self.changed.insert(portfolio);
    }

    pub(crate) fn alert(&mut self, alert: RiskAlert) {
        self.alerts.push(alert, alert.ts_event);
    }

    /// Its topics with their numbers.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (Topic, u64)> {
        let portfolios = self.portfolios.iter().map(|(name, latest)| (Topic::Risk(*name), latest.seq));
        let alerts = (self.alerts.seq > 0).then_some((Topic::RiskAlerts, self.alerts.seq));
        portfolios.chain(alerts)
    }

    /// The newest measures of a portfolio.
    pub(crate) fn measures(&self, portfolio: DeskName) -> Option<TopicPicture> {
        let Latest { seq, ts, state, .. } = *self.portfolios.get(&portfolio)?;
        Some(TopicPicture { topic: Topic::Risk(portfolio), seq, ts, state: Change::Risk(state?) })
    }

    /// The newest alerts.
    pub(crate) fn alerts(&self) -> Option<TopicPicture> {
        let Log { seq, ts, .. } = self.alerts;
        let state = Change::RiskAlerts(self.alerts.kept().copied().collect());
        (seq > 0).then_some(TopicPicture { topic: Topic::RiskAlerts, seq, ts, state })
    }

    /// Hands over what changed in each topic.
    pub(crate) fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Publication)) {
        for name in std::mem::take(&mut self.changed) {
            let Some(latest) = self.portfolios.get_mut(&name) else { continue };
            if let Some((prev_seq, metric)) = latest.take() {
                let symbol = name.as_str().parse().expect("a portfolio's name is a legal symbol");
                let (topic, change) = (Topic::Risk(name), Arc::new(Change::Risk(metric)));
                sink(symbol, Publication { topic, seq: latest.seq, prev_seq, ts: latest.ts, change });
            }
        }
        if let Some((prev_seq, alerts)) = self.alerts.take() {
            let symbol = EngineName::Risk.as_str().parse().expect("an engine's name is a legal symbol");
            let (topic, change) = (Topic::RiskAlerts, Arc::new(Change::RiskAlerts(alerts)));
            sink(symbol, Publication { topic, seq: self.alerts.seq, prev_seq, ts: self.alerts.ts, change });
        }
    }

    /// After a restart there is nothing to be told of what came before.
    ///
    /// # Errors
    /// A reason, when there is more than this ever keeps.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.portfolios.values_mut().for_each(Latest::resume);
        if self.portfolios.len() > PORTFOLIOS_MAX {
            return Err(format!("it has more than {PORTFOLIOS_MAX} portfolios"));
        }
        self.alerts.resume()
    }
}
