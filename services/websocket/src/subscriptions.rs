//! What one connection listens to: turns its wishes into taps, now and when topics appear. It sends nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nautilus_engine_websocket::Topic;

use crate::client::{Client, Tap};
use crate::protocol::Rejected;
use crate::server::{Guest, Server};
use crate::wishes::{Options, SUBSCRIPTIONS_MAX, UnknownTopic, Wish, Wishes};

/// What became of the topics of a message.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: Vec<String>,
    pub(crate) rejected: Vec<Rejected>,
}

/// A connection's subscriptions.
pub(crate) struct Subscriptions {
    server: Arc<Server>,
    client: Arc<Client>,
    wishes: Wishes,
    /// How many of the published topics the wildcards were held against.
    seen: usize,
}

impl Subscriptions {
    pub(crate) fn new(guest: &Guest) -> Self {
        let (server, client) = (Arc::clone(&guest.server), Arc::clone(&guest.client));
        Self { server, client, wishes: Wishes::default(), seen: 0 }
    }

    /// Adds topics and wildcards; those that are there already start over with the new options.
    pub(crate) fn subscribe(&mut self, names: &[String], options: Options) -> Outcome {
        let mut outcome = Outcome::default();
        // A wildcard opens every topic of its kind: once per message is enough, however often it is named.
        let mut added = BTreeSet::new();
        for name in names {
            match name.parse() {
                Err(UnknownTopic(detail)) => {
                    outcome.rejected.push(Rejected::new(name, "unknown_topic", &detail));
                }
                Ok(wish) if !added.insert(wish) && self.wishes.has(wish) => {
                    outcome.accepted.push(wish.to_string());
                }
                Ok(wish) if self.add(wish, options) => outcome.accepted.push(wish.to_string()),
                Ok(_) => {
                    let detail = format!(
                        "a connection has at most {SUBSCRIPTIONS_MAX} subscriptions; use a wildcard or another connection"
                    );
                    outcome.rejected.push(Rejected::new(name, "too_many_subscriptions", &detail));
                }
            }
        }
        outcome
    }

    fn add(&mut self, wish: Wish, options: Options) -> bool {
        let watched = self.wishes.has_wildcards();
        if !self.wishes.add(wish, options) {
            return false;
        }
        self.count();
        if let Wish::Exactly(topic) = wish {
            self.open(topic, options);
            return true;
        }
        if !watched {
            // Watched first: what is published from now on is announced, the rest is here already.
            self.server.fan_out.watch(self.client.id, &self.client.bell);
        }
        let (topics, seen) = self.server.fan_out.published_from(0);
        for topic in topics.into_iter().filter(|topic| wish.covers(*topic)) {
            // An exact subscription keeps its own options.
            if self.wishes.options(topic) == Some(options) {
                self.open(topic, options);
            }
        }
        self.seen = if watched { self.seen } else { seen };
        true
    }

    /// Removes topics and wildcards.
    pub(crate) fn unsubscribe(&mut self, names: &[String]) -> Outcome {
        let mut outcome = Outcome::default();
        for name in names {
            match name.parse() {
                Ok(wish) if self.wishes.remove(wish) => {
                    self.close_unwanted(wish);
                    outcome.accepted.push(wish.to_string());
                }
                Ok(_) => {
                    outcome.rejected.push(Rejected::new(name, "not_subscribed", "it was not subscribed to"));
                }
                Err(UnknownTopic(detail)) => {
                    outcome.rejected.push(Rejected::new(name, "unknown_topic", &detail));
                }
            }
        }
        self.count();
        if !self.wishes.has_wildcards() {
            self.server.fan_out.unwatch(self.client.id);
        }
        outcome
    }

    fn close_unwanted(&self, wish: Wish) {
        let covered: Vec<_> =
            self.client.taps().keys().copied().filter(|topic| wish.covers(*topic)).collect();
        for topic in covered {
            // What another wish covers as well goes on as it is.
            if self.wishes.options(topic).is_none() {
                self.close(topic);
            }
        }
    }

    /// Goes on with a topic at `seq`. Says whether that was possible; if not, the topic starts over.
    pub(crate) fn resume(&mut self, topic: Topic, (epoch, seq): (u64, u64), options: Options) -> bool {
        let tap = self.open(topic, options);
        let resumed = epoch == self.server.fan_out.epoch && seq > 0 && tap.lanes.reaches(seq);
        if resumed {
            tap.advance(seq);
        }
        resumed
    }

    /// Room for an exact topic, which may be there already.
    pub(crate) fn add_exactly(&mut self, topic: Topic, options: Options) -> bool {
        let added = self.wishes.add(Wish::Exactly(topic), options);
        self.count();
        added
    }

    /// Opens what wildcards cover among the topics that have been published since the last time.
    pub(crate) fn follow_new_topics(&mut self) {
        let (topics, seen) = self.server.fan_out.published_from(self.seen);
        self.seen = seen;
        for topic in topics {
            let there = self.client.taps().contains_key(&topic);
            if let Some(options) = self.wishes.options(topic).filter(|_| !there) {
                self.open(topic, options);
            }
        }
    }

    /// Listens to a topic from its next snapshot on.
    fn open(&self, topic: Topic, options: Options) -> Arc<Tap> {
        self.close(topic);
        let bell = Arc::clone(&self.client.bell);
        let tap = self.server.fan_out.open(topic, |lanes| Tap::new(lanes, options, bell));
        self.client.taps().insert(topic, Arc::clone(&tap));
        tap.ring();
        tap
    }

    /// The same topic at another pace, from where the client is.
    pub(crate) fn change_pace(&self, tap: &Tap, every_ms: u16, seq: u64) {
        let options = Options { conflate_ms: every_ms, checksum: tap.checksum };
        self.open(tap.lanes.topic, options).advance(seq);
    }

    fn close(&self, topic: Topic) {
        let tap = self.client.taps().remove(&topic);
        if let Some(tap) = tap {
            self.server.fan_out.close(&tap);
        }
    }

    fn count(&self) {
        self.client.subscriptions.store(self.wishes.len(), Relaxed);
    }
}
