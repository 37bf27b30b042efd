//! Named sets of features: what a consumer subscribes to and a reader asks for by name.
//!
//! It decides which sets are legal; who sends what when is the engine's business.

use nautilus_types::Symbol;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::registry::Registry;

/// Sets, at most.
pub const SETS_MAX: usize = 256;
/// Features of a set, at most.
pub const SET_FEATURES_MAX: usize = 4_096;

/// When a set's vectors are sent on the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publish {
    /// When the instrument's bar closes.
    #[default]
    Bar,
    /// At each trade and quote of the instrument, too.
    Event,
    /// Never: the set is only a name.
    Never,
}

/// A named set of features.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSet {
    /// Ids of definitions, in the order in which their values are sent.
    pub features: Vec<String>,
    /// Whose vectors are sent; all when it is empty.
    #[serde(default)]
    pub instruments: Vec<Symbol>,
    /// When they are sent.
    #[serde(default)]
    pub publish: Publish,
}

/// A set as the engine uses it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subscribed {
    pub(crate) places: Vec<u32>,
    pub(crate) instruments: Vec<Symbol>,
    pub(crate) publish: Publish,
    /// Of the ids and versions in their order, so that a consumer sees when a column means something else.
    pub(crate) definition: u64,
}

impl FeatureSet {
    /// What the set's messages carry as their definition, where the set is legal.
    #[must_use]
    pub fn definition(&self, registry: &Registry) -> Option<u64> {
        self.subscribe(registry).ok().map(|subscribed| subscribed.definition)
    }

    /// Checks a set against the definitions.
    ///
    /// # Errors
    /// A code and a sentence.
    pub(crate) fn subscribe(&self, registry: &Registry) -> Result<Subscribed, (&'static str, String)> {
        if self.features.is_empty() || self.features.len() > SET_FEATURES_MAX {
            let detail =
                format!("a set has 1 to {SET_FEATURES_MAX} features; this one has {}", self.features.len());
            return Err(("invalid_set", detail));
        }
        let mut hash = Xxh3::new();
        let mut places = Vec::with_capacity(self.features.len());
        let mut taken = vec![false; registry.definitions().len()];
        for id in &self.features {
            let place = registry.find(id).ok_or_else(|| {
                ("unknown_feature", format!("feature '{id}' is not defined; GET /v1/features lists all"))
            })?;
            if std::mem::replace(&mut taken[place], true) {
                return Err(("invalid_set", format!("feature '{id}' is named twice; name it once")));
            }
            let definition = &registry.definitions()[place];
            hash.update(definition.id.as_bytes());
            hash.update(&definition.version.to_le_bytes());
            places.push(place as u32);
        }
        let mut instruments = self.instruments.clone();
        instruments.sort_unstable();
        instruments.dedup();
        Ok(Subscribed { places, instruments, publish: self.publish, definition: hash.digest() })
    }
}

impl Subscribed {
    pub(crate) fn wants(&self, symbol: Symbol) -> bool {
        self.instruments.is_empty() || self.instruments.binary_search(&symbol).is_ok()
    }
}
