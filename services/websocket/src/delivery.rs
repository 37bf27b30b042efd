//! What a client is sent of a topic, by how far it is behind: single updates, then one merged update and a slower
//! pace, then a fresh snapshot, then the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::client::{Client, Tap};
use crate::connection::End;
use crate::encode::{self, Place};
use crate::history::Update;
use crate::lanes::{Fetched, SLOW_MS};
use crate::outlet::Outlet;
use crate::patience::Streak;
use crate::protocol::Answer;
use crate::server::{Guest, Server};
use crate::subscriptions::Subscriptions;

/// Updates of one topic that are sent before the client's other topics have their turn.
const FETCH_MAX: usize = 64;

/// One client's deliveries.
pub(crate) struct Delivery {
    server: Arc<Server>,
    client: Arc<Client>,
    fetched: Vec<Arc<Update>>,
    resynchronised: Streak,
    /// Taps that the engine had no time for.
    unserved: Vec<Arc<Tap>>,
}

impl Delivery {
    pub(crate) fn new(guest: &Guest) -> Self {
        let (server, client) = (Arc::clone(&guest.server), Arc::clone(&guest.client));
        let (fetched, unserved) = (Vec::new(), Vec::new());
        Self { server, client, fetched, resynchronised: Streak::default(), unserved }
    }

    /// Taps that are to be tried again.
    pub(crate) fn unserved(&mut self) -> Vec<Arc<Tap>> {
        std::mem::take(&mut self.unserved)
    }

    /// Sends what a topic has for the client.
    pub(crate) async fn deliver(
        &mut self,
        tap: &Arc<Tap>,
        outlet: &mut Outlet<'_>,
        subscriptions: &Subscriptions,
    ) -> Result<(), End> {
        if tap.is_closed() {
            return Ok(());
        }
        let Some(seq) = tap.seq() else { return self.send_snapshot(tap, outlet).await };
        self.fetched.clear();
        match tap.lanes.fetch(tap.every_ms, seq, FETCH_MAX, &mut self.fetched) {
            Fetched::Nothing => Ok(()),
            Fetched::Lost => self.resynchronise(tap, outlet).await,
            Fetched::Updates(missing) => {
                if missing > self.server.settings.behind_max && tap.is_caught_up() {
                    return self.slow_down(tap, seq, outlet, subscriptions).await;
                }
                if missing > FETCH_MAX {
                    // Before sending, so that what waits is seen to wait.
                    tap.ring();
                }
                self.send_updates(tap, outlet).await
            }
        }
    }

    async fn send_updates(&mut self, tap: &Arc<Tap>, outlet: &mut Outlet<'_>) -> Result<(), End> {
        let lanes = &tap.lanes;
        for update in self.fetched.drain(..) {
            let text = update.text(&lanes.name, lanes.epoch, tap.checksum);
            // What waited for its interval says nothing about the way through the service.
            outlet.update(text, (tap.every_ms == 0).then_some(update.published)).await?;
            tap.advance(update.seq);
        }
        Ok(())
    }

    async fn send_snapshot(&mut self, tap: &Arc<Tap>, outlet: &mut Outlet<'_>) -> Result<(), End> {
        let lanes = &tap.lanes;
        match self.server.fan_out.snapshot(lanes, &self.server.pictures).await {
            Ok(Some(snapshot)) => {
                outlet.feed(snapshot.text(&lanes.name, lanes.epoch, tap.checksum)).await?;
                tap.advance(snapshot.seq());
                // It may not be the newest: what followed it is there to be fetched.
                tap.ring();
            }
            // The topic is not there yet; its first publication rings.
            Ok(None) => {}
            Err(problem) => {
                tracing::debug!(topic = lanes.name, detail = problem.detail(), "a snapshot has to wait");
                self.unserved.push(Arc::clone(tap));
            }
        }
        Ok(())
    }

    /// Everything that is missing as one update; from then on the slow pace.
    async fn slow_down(
        &mut self,
        tap: &Arc<Tap>,
        seq: u64,
        outlet: &mut Outlet<'_>,
        subscriptions: &Subscriptions,
    ) -> Result<(), End> {
        self.fetched.clear();
        if tap.every_ms >= SLOW_MS {
            return self.resynchronise(tap, outlet).await;
        }
        let lanes = &tap.lanes;
        let Some(missed) = lanes.since(seq).filter(|missed| !missed.is_empty()) else {
            return self.resynchronise(tap, outlet).await;
        };
        let (first, last) = (&missed[0], &missed[missed.len() - 1]);
        let mut change = (*first.change).clone();
        missed[1..].iter().for_each(|update| change.merge(&update.change));
        let place = Place {
            topic: &lanes.name,
            epoch: lanes.epoch,
            seq: last.seq,
            prev_seq: Some(first.prev_seq),
            ts: last.ts,
        };
        self.client.conflated.fetch_add(1, Relaxed);
        self.server.meters.conflated.increment(1);
        let detail =
            "this client was slow: the topic now comes at most every 250 ms; subscribe again to change that";
        outlet.tell(&Answer::System { event: "conflated", topic: &lanes.name, detail }).await?;
        outlet.feed(encode::message(place, &change, tap.checksum)).await?;
        subscriptions.change_pace(tap, SLOW_MS, last.seq);
        Ok(())
    }

    /// A fresh snapshot instead of what is missing.
    async fn resynchronise(&mut self, tap: &Arc<Tap>, outlet: &mut Outlet<'_>) -> Result<(), End> {
        self.client.resynchronised.fetch_add(1, Relaxed);
        self.server.meters.resynchronised.increment(1);
        if self.resynchronised.again(Instant::now()) > self.server.settings.resynchronise_max {
            return Err(End::Slow);
        }
        let topic = &tap.lanes.name;
        let detail = "this client fell too far behind: a fresh snapshot follows";
        outlet.tell(&Answer::System { event: "resynchronised", topic, detail }).await?;
        tap.start_over();
        self.send_snapshot(tap, outlet).await
    }
}
