//! What pinning could do here, what the system would refuse, and what the configuration asks for.

use nautilus_hardware::pinning::{Abilities, Need, PinningError, Plan, Policy};
use nautilus_hardware::probe::{Root, Topology};
use nautilus_service::{Config, pinning};
use serde::Serialize;

use super::{Finding, Verdict};

/// What was found out about pinning; nothing was changed.
#[derive(Debug, Serialize)]
pub(super) struct Pinning {
    enabled: bool,
    required: bool,
    #[serde(flatten)]
    abilities: Abilities,
    /// What would be done if it were enabled.
    plan: Option<Plan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_plan: Option<String>,
}

impl Pinning {
    pub(super) fn look(config: &Config, root: &Root, topology: &Topology) -> Self {
        let planned = Plan::new(topology, &pinning::request(config));
        let no_plan = planned.as_ref().err().map(PinningError::to_string);
        Self {
            enabled: config.pinning.enabled,
            required: config.pinning.required,
            abilities: Abilities::detect(root, topology, config.pinning.realtime_priority),
            plan: planned.ok(),
            no_plan,
        }
    }

    /// What a refusal means for this configuration.
    fn verdict(&self, needed: bool) -> Verdict {
        if self.enabled && self.required && needed { Verdict::Missing } else { Verdict::Optional }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self
            .abilities
            .all
            .iter()
            .map(|ability| {
                let what = format!("pinning: {}", ability.need.as_str());
                if ability.granted {
                    return Finding::ok(&what, &*ability.detail);
                }
                let needed = self.plan.as_ref().is_some_and(|plan| asks_for(plan, ability.need));
                let advice = "only needed where [pinning] asks for it";
                Finding::lacking(&what, self.verdict(needed), format!("refused: {}", ability.detail), advice)
            })
            .collect();
        if let Some(reason) = self.no_plan.as_ref().filter(|_| self.enabled) {
            let advice = "change [pinning], or set pinning.enabled to false";
            findings.push(Finding::lacking("pinning: plan", Verdict::Missing, &**reason, advice));
        }
        findings
    }

    pub(super) fn print(&self) {
        let state =
            if self.enabled { "enabled" } else { "off; this is what pinning.enabled = true would do" };
        say!("\nPinning of engines ({state})");
        if let Some(reason) = &self.no_plan {
            say!("  nothing: {reason}");
        }
        for placement in self.plan.iter().flat_map(|plan| &plan.placements) {
            say!("  {:<14} CPU {}, {}", placement.role, placement.cpu, placement.policy);
        }
        for refusal in self.plan.iter().flat_map(|plan| &plan.refused) {
            say!("  refused        {refusal}");
        }
        for warning in &self.abilities.warnings {
            say!("  beware         {warning}");
        }
    }
}

fn asks_for(plan: &Plan, need: Need) -> bool {
    match need {
        Need::Affinity => !plan.placements.is_empty(),
        Need::RealtimePriority => {
            plan.placements.iter().any(|placement| placement.policy != Policy::Unchanged)
        }
        Need::MemoryLock => plan.lock_memory,
        Need::LatencyRequest => plan.latency_request,
    }
}
