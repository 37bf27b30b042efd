//! The keys that hold now: the file's newest good content, looked up by id.
//!
//! A file that breaks or vanishes changes nothing but the readiness warnings: what was good goes on, expiry included.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nautilus_types::UnixNanos;

use super::bucket::Bucket;
use super::key::Presented;
use super::keys_file::{KeyEntry, KeysError, load, parse};
use super::scope::Scopes;
use crate::shell::wall_clock;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A key with what it may still ask.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) entry: KeyEntry,
    allowance: Mutex<Bucket>,
}

impl Live {
    /// Counts one request, or says how long to wait.
    pub(super) fn spend(&self) -> Result<(), Duration> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<String, Arc<Live>>,
    /// What the keys were read from.
    text: String,
    trouble: Option<KeysError>,
}

/// The keys of a file, kept up to date.
#[derive(Debug)]
pub(crate) struct KeyRing {
    path: PathBuf,
    requests_per_minute: u32,
    state: ArcSwap<State>,
}

/// Why a key is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    Unknown,
    Expired,
}

impl KeyRing {
    /// Reads the file; what is wrong with it becomes a warning.
    pub(crate) fn open(path: PathBuf, requests_per_minute: u32) -> Self {
        let ring = Self { path, requests_per_minute, state: ArcSwap::default() };
        ring.refresh();
        ring
    }

    /// Finds a key by its id and compares its secret.
    pub(super) fn find(&self, shown: Presented<'_>, now: UnixNanos) -> Result<Arc<Live>, Bad> {
        let state = self.state.load();
        let live = state.keys.get(shown.id).ok_or(Bad::Unknown)?;
        if !shown.matches(&live.entry.digest) {
            return Err(Bad::Unknown);
        }
        if live.entry.is_expired(now) { Err(Bad::Expired) } else { Ok(Arc::clone(live)) }
    }

    /// Whether a key of this id and content still holds.
    fn holds(&self, entry: &KeyEntry) -> bool {
        let state = self.state.load();
        state.keys.get(&entry.id).is_some_and(|live| live.entry == *entry) && !entry.is_expired(wall_clock())
    }

    /// Why nobody, or not everybody who should, gets in.
    pub(crate) fn warning(&self) -> Option<String> {
        let state = self.state.load();
        if let Some(trouble) = &state.trouble {
            let then = if state.keys.is_empty() {
                "no request is let in"
            } else {
                "the keys read before still hold"
            };
            return Some(format!("{trouble}; {then}"));
        }
        let now = wall_clock();
        state
            .keys
            .values()
            .all(|live| live.entry.is_expired(now))
            .then(|| format!("{} holds no valid key: make one with `nautilus keys new`", self.path.display()))
    }

    /// Takes over what the file says now, if it is good.
    fn refresh(&self) {
        let old = self.state.load_full();
        let read = load(&self.path);
        if old.trouble.is_none() && !old.text.is_empty() && read.as_ref() == Ok(&old.text) {
            return;
        }
        let state = match read.and_then(|text| Ok((parse(&self.path, &text)?, text))) {
            Ok((keys, text)) => {
                if !old.text.is_empty() {
                    tracing::info!(file = %self.path.display(), keys = keys.len(), "access keys have changed");
                }
                State { keys: self.live(keys, &old), text, trouble: None }
            }
            Err(trouble) if old.trouble.as_ref() == Some(&trouble) => return,
            Err(trouble) => {
                tracing::warn!(%trouble, kept = old.keys.len(), "access keys could not be read");
                State { keys: old.keys.clone(), text: old.text.clone(), trouble: Some(trouble) }
            }
        };
        self.state.store(Arc::new(state));
    }

    /// Keys that did not change keep what they have spent.
    fn live(&self, keys: Vec<KeyEntry>, old: &State) -> HashMap<String, Arc<Live>> {
        let live = |entry: KeyEntry| {
            let same = old.keys.get(&entry.id).filter(|live| live.entry == entry).cloned();
            let new = || {
                let allowance = Mutex::new(Bucket::per_minute(self.requests_per_minute, Instant::now()));
                Arc::new(Live { entry: entry.clone(), allowance })
            };
            (entry.id.clone(), same.unwrap_or_else(new))
        };
        keys.into_iter().map(live).collect()
    }

    /// Looks at the file every second, for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let ring = Arc::clone(&self);
            // A file may lie on a disk that does not answer.
            let _ = tokio::task::spawn_blocking(move || ring.refresh()).await;
        }
    }
}

/// Who asks: in the extensions of every request that showed a good key.
#[derive(Debug, Clone)]
pub struct Principal {
    live: Arc<Live>,
    ring: Arc<KeyRing>,
}

impl Principal {
    pub(super) fn new(live: Arc<Live>, ring: Arc<KeyRing>) -> Self {
        Self { live, ring }
    }

    /// The key's id, which may be shown and logged.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.live.entry.id
    }

    /// What people call the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.live.entry.name
    }

    /// What the key allows.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.live.entry.scopes
    }

    /// When the key ends.
    #[must_use]
    pub fn expires(&self) -> UnixNanos {
        self.live.entry.expires
    }

    /// Whether the key still holds: neither expired, nor revoked, nor changed. For connections that outlive their first
    /// request.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.ring.holds(&self.live.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::super::keys_file::KeysFile;
    use super::super::scope::Scope;
    use super::*;

    fn add(path: &std::path::Path, key: &Key, name: &str, days: u16, now: UnixNanos) {
        let mut file = KeysFile::open(path).unwrap();
        file.add(key, name, Scope::Read.into(), days, now).unwrap();
        file.write().unwrap();
    }

    #[test]
    fn keys_come_and_go_with_their_file_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let ring = Arc::new(KeyRing::open(path.clone(), 60));
        assert!(ring.warning().unwrap().contains("does not exist"));
        let (one, two) = (Key::new().unwrap(), Key::new().unwrap());
        let now = wall_clock();
        let find = |key: &Key, now| {
            let text = key.reveal();
            ring.find(Presented::parse(&text).unwrap(), now).map(|live| live.entry.name.clone())
        };
        add(&path, &one, "one", 1, now);
        assert_eq!(find(&one, now), Err(Bad::Unknown), "the file was not looked at yet");
        ring.refresh();
        assert_eq!((find(&one, now), ring.warning()), (Ok("one".to_owned()), None));
        let text = one.reveal();
        let live = ring.find(Presented::parse(&text).unwrap(), now).unwrap();
        while live.spend().is_ok() {}

        add(&path, &two, "two", 2, now);
        ring.refresh();
        assert_eq!(find(&two, now), Ok("two".to_owned()));
        let same = ring.find(Presented::parse(&text).unwrap(), now).unwrap();
        assert!(same.spend().is_err(), "a change of another key gives no new allowance");
        let principal = Principal::new(same, Arc::clone(&ring));
        assert!(principal.is_valid());

        std::fs::write(&path, "keys = 5").unwrap();
        ring.refresh();
        assert!(find(&one, now).is_ok() && ring.warning().unwrap().contains("still hold"));
        std::fs::remove_file(&path).unwrap();
        ring.refresh();
        assert!(find(&one, now).is_ok() && ring.warning().unwrap().contains("does not exist"));

        add(&path, &two, "two", 1, now);
        ring.refresh();
        assert_eq!(find(&one, now), Err(Bad::Unknown), "it was revoked");
        assert!(!principal.is_valid() && ring.warning().is_none());
        let later = UnixNanos(now.0 + 2 * nautilus_types::NANOS_PER_DAY);
        assert_eq!(find(&two, later), Err(Bad::Expired));
        let forged = format!("nk_{}_{}", two.id(), &one.reveal()[16..]);
        assert!(ring.find(Presented::parse(&forged).unwrap(), now).is_err());
    }
}
