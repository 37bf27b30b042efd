//! Which features and which instruments a question is about. What is answered about them is not decided here.

use std::sync::Arc;

use nautilus_engine_features::{Snapshot, Vector};
use nautilus_service::Problem;
use nautilus_types::Symbol;

/// Features by their places in the registry, in the order in which they are answered.
pub(crate) type Places = Arc<[u32]>;

/// The features of a set, those that are named, or all.
pub(crate) fn features(
    picture: &Snapshot,
    set: Option<&str>,
    named: Option<&str>,
) -> Result<Places, Problem> {
    match (set, named) {
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("invalid_query", "give set or features, not both; neither means all"))
        }
        (Some(name), None) => {
            let set = name.parse().ok().and_then(|name| picture.sets.get(&name));
            let set = set.ok_or_else(|| unknown_set(name))?;
            places(picture, set.features.iter().map(String::as_str))
        }
        (None, Some(names)) => places(picture, names.split(',')),
        #[allow(clippy::cast_possible_truncation)]
        (None, None) => Ok((0..picture.registry.definitions().len() as u32).collect()),
    }
}

fn places<'a>(picture: &Snapshot, names: impl Iterator<Item = &'a str>) -> Result<Places, Problem> {
    let mut taken = vec![false; picture.registry.definitions().len()];
    let place = |name: &str| {
        let place = picture.registry.find(name).ok_or_else(|| unknown_feature(name))?;
        if std::mem::replace(&mut taken[place], true) {
            let detail = format!("feature '{name}' is named twice; name it once");
            return Err(Problem::bad_request("invalid_query", detail));
        }
        Ok(u32::try_from(place).expect("definitions are bounded"))
    };
    names.map(place).collect()
}

/// 404 for a feature that nobody defined.
pub(crate) fn unknown_feature(name: &str) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let detail = format!("feature '{shown}' is not defined; GET /v1/features lists all");
    Problem::not_found("unknown_feature", detail)
}

/// 404 for a set that nobody made.
pub(crate) fn unknown_set(name: &str) -> Problem {
    let shown: String = name.chars().take(32).collect();
    Problem::not_found("unknown_set", format!("there is no set '{shown}'; GET /v1/sets lists all"))
}

/// The place of the instrument of that name.
pub(crate) fn instrument(picture: &Snapshot, name: &str) -> Result<usize, Problem> {
    let place = name.parse().ok().and_then(|symbol| picture.find(symbol));
    place.ok_or_else(|| Problem::unknown_instrument(name))
}

/// Up to `limit` places of instruments behind `after`, by symbol: those named, or all. With the symbol to go on from,
/// where there are more.
pub(crate) fn instruments(
    picture: &Snapshot,
    named: Option<&str>,
    after: Option<Symbol>,
    limit: usize,
) -> Result<(Vec<usize>, Option<Symbol>), Problem> {
    let symbol = |place: usize| picture.instruments[place].symbol;
    let mut places: Vec<usize> = match named {
        Some(names) => names.split(',').map(|name| instrument(picture, name)).collect::<Result<_, _>>()?,
        None => (0..picture.instruments.len()).collect(),
    };
    places.sort_unstable();
    places.dedup();
    let begin = places.partition_point(|place| after.is_some_and(|after| symbol(*place) <= after));
    let more = places.len() - begin > limit;
    let page: Vec<usize> = places.into_iter().skip(begin).take(limit).collect();
    let next = page.last().filter(|_| more).map(|place| symbol(*place));
    Ok((page, next))
}

/// How many features have a value.
pub(crate) fn defined(picture: &Snapshot, vector: Vector<'_>) -> usize {
    (0..picture.registry.definitions().len()).filter(|feature| vector.value(*feature).is_some()).count()
}
