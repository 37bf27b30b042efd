//! docs/risk.md names every reason and every kind of limit.

use nautilus_engine_risk::{Limit, Limits};
use nautilus_messages::mesh::Reason;
use nautilus_types::Money;

const DOCUMENT: &str = include_str!("../../../../docs/risk.md");

#[test]
fn reasons_and_limits_are_described() {
    for reason in Reason::ALL {
        assert!(DOCUMENT.contains(&format!("`{}`", reason.as_str())), "{} is not described", reason.as_str());
    }
    let money = Some(Limit { soft: None, hard: Money::ZERO });
    let all = serde_json::to_value(Limits { gross: money, ..Limits::default() }).unwrap();
    for kind in all.as_object().unwrap().keys() {
        assert!(DOCUMENT.contains(&format!("`{kind}`")), "{kind} is not described");
    }
}
