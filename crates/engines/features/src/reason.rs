//! Why a value is absent.
//!
//! It is found when somebody asks, from what the definition says and what the instrument has had so far.

use serde::Serialize;

use crate::inputs::Source;
use crate::registry::Definition;

/// Why a value is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Absence {
    /// Too little has happened yet.
    WarmingUp {
        /// Ticks of its clock so far.
        have: u64,
        /// Ticks from which on it is defined.
        need: u64,
    },
    /// An input has no value.
    NoInput {
        /// Which one.
        input: &'static str,
    },
    /// The formula has no value there.
    Undefined {
        /// When that is so.
        detail: String,
    },
}

impl Absence {
    /// Why `definition` has no value after `ticks` of its clock, where `present` tells which inputs have one.
    pub(crate) fn of(definition: &Definition, ticks: u64, present: impl Fn(Source) -> bool) -> Self {
        let missing = definition.inputs.iter().find(|name| Source::named(name).is_some_and(|s| !present(s)));
        let need = definition.warm_up as u64 + 1;
        match missing {
            Some(input) if ticks > 0 => Self::NoInput { input },
            _ if ticks < need => Self::WarmingUp { have: ticks, need },
            _ => Self::Undefined {
                detail: match definition.undefined.as_str() {
                    "" => {
                        "the formula divides by zero or leaves its range, or looks back at what had no value"
                            .to_owned()
                    }
                    detail => detail.to_owned(),
                },
            },
        }
    }
}

impl std::fmt::Display for Absence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WarmingUp { have, need } => write!(f, "warming up: {have} of {need} ticks"),
            Self::NoInput { input } => write!(f, "no value of {input}"),
            Self::Undefined { detail } => f.write_str(detail),
        }
    }
}
