//! Settings that were changed at run time, as an engine finds them again at its start.
//!
//! What a key or a value means is the engine's business.

use std::fmt::Display;
use std::str::FromStr;

use nautilus_messages::EngineName;
use nautilus_store::Store;

/// What was set in earlier runs, by key; `read` makes a value of its text. Whatever cannot be read is left out, with a
/// warning. An empty text stands for a setting that was removed.
pub async fn saved_settings<K, V, E>(
    store: &Store,
    engine: EngineName,
    read: impl Fn(&str) -> Result<V, E>,
) -> Vec<(K, V)>
where
    K: FromStr<Err: Display>,
    E: Display,
{
    let settings = store.settings(engine).await.unwrap_or_else(|error| {
        tracing::warn!(%engine, %error, "saved settings could not be read; the defaults are used");
        Vec::new()
    });
    let mut saved = Vec::new();
    for setting in settings.iter().filter(|setting| !setting.value.is_empty()) {
        let key = setting.key.parse::<K>().map_err(|error| error.to_string());
        let value = read(&setting.value).map_err(|error| error.to_string());
        match key.and_then(|key| Ok((key, value?))) {
            Ok(both) => saved.push(both),
            Err(error) => tracing::warn!(%engine, key = setting.key, error, "a saved setting was ignored"),
        }
    }
    saved
}
