//! What an engine is handed, what it hands back, and the trait between.

use nautilus_messages::EngineName;
use nautilus_messages::frame::FrameRef;
use nautilus_messages::mesh::{Body, Message, Priority};
use nautilus_messages::record::Record;
use nautilus_types::{InstrumentId, Symbol, UnixNanos};

use crate::Facts;

/// When a step happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The instant: a frame's receive time, a message's send time, or the clock for anything else.
    pub now: UnixNanos,
    /// The step's number since the engine was created.
    pub index: u64,
}

/// What makes an engine step.
#[derive(Debug)]
pub enum Input<'a, C> {
    /// Market data: from a feed for the hub, from the star for everyone else. A [`nautilus_messages::frame::Gap`]
    /// with cause `Overrun` says that the reader lost frames.
    ///
    /// Snapshots of the star come as frames, too, in the order of the star: one that is older than what was lost comes
    /// before that gap, any other contains everything that was lost before it.
    Frame(FrameRef<'a>),
    /// From the mesh.
    Message(&'a Message),
    /// From the engine's own HTTP interface.
    Command(C),
    /// The hub has restarted: its sequence numbers begin again, and what it said before does not go on.
    HubRestarted,
}

/// A message to be sent; the shell adds producer, epoch, sequence and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// How urgent it is.
    pub priority: Priority,
    /// What it answers, or zero.
    pub correlation_id: u128,
    /// What it says.
    pub body: Body,
}

/// Why a command was not carried out: a stable code and a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, for programs: `unknown_instrument`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// What a step wants done, in order. The shell empties it after every batch and keeps its capacity.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// What has to be on the disk before anything else of the batch is handed over, for engines whose service keeps a
    /// journal. Any other engine pushes none.
    ///
    /// Behind a crash a frame or message whose fact is on the disk already may be stepped once more: an engine knows it
    /// again by what its facts have told, and says the same as before.
    pub facts: Facts,
    /// Frames for the star, end to end. Only marketdata publishes there.
    pub star: Vec<u8>,
    /// Messages for the mesh.
    pub mesh: Vec<Outgoing>,
    /// Rows for the store.
    pub records: Vec<Record>,
    /// Instruments whose newest star snapshot the engine asks for. Each gets the next one that is newer than what it
    /// got before; when that does not help, the engine asks again.
    pub snapshots: Vec<InstrumentId>,
    /// Set when a command was refused.
    pub refusal: Option<Refusal>,
}

impl Effects {
    /// Appends a frame for the star.
    #[inline]
    pub fn publish<'a>(&mut self, frame: impl Into<FrameRef<'a>>) {
        self.star.extend_from_slice(frame.into().as_bytes());
    }

    /// Appends a message for the mesh.
    pub fn send(&mut self, priority: Priority, body: Body) {
        self.mesh.push(Outgoing { priority, correlation_id: 0, body });
    }

    /// Appends the answer to a message.
    pub fn answer(&mut self, request: &Message, body: Body) {
        self.mesh.push(Outgoing { priority: request.priority, correlation_id: request.id.as_u128(), body });
    }

    /// Asks for the newest star snapshot of an instrument.
    pub fn want_snapshot(&mut self, instrument: InstrumentId) {
        // Whoever asks does so frame after frame.
        if self.snapshots.last() != Some(&instrument) {
            self.snapshots.push(instrument);
        }
    }

    /// Refuses the command at hand.
    pub fn refuse(&mut self, code: &'static str, detail: impl Into<String>) {
        self.refusal = Some(Refusal { code, detail: detail.into() });
    }

    /// Empties every list and keeps the memory.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.star.clear();
        self.mesh.clear();
        self.records.clear();
        self.snapshots.clear();
        self.refusal = None;
    }
}

/// Why a snapshot cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of {engine} cannot be restored: {reason}; delete it to start afresh")]
pub struct RestoreError {
    /// Whose snapshot.
    pub engine: EngineName,
    /// What is wrong with it.
    pub reason: String,
}

/// An engine: state and mathematics, nothing else.
pub trait Engine: Send + 'static {
    /// Its name.
    const NAME: EngineName;
    /// What its HTTP interface may ask it to change.
    type Command: Send + 'static;
    /// What readers see of one instrument, made between batches and never changed afterwards.
    type View: Send + Sync + 'static;

    /// Updates the state and says what is to be done. Never fails: what cannot be done is refused or counted.
    fn step(&mut self, at: Stamp, input: Input<'_, Self::Command>, out: &mut Effects);

    /// The whole state in canonical bytes: equal states give equal bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the state by a snapshot's.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of this version of this engine; the state is unchanged then.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// Applies a fact that this engine had put into [`Effects::facts`], at a start, behind the snapshot that the engine
    /// was restored from. What facts are about is then as it was when the last of them was pushed.
    ///
    /// # Errors
    /// When the bytes are not a fact of this engine, or it owns none. The engine does not start then.
    fn recover(&mut self, at: UnixNanos, fact: &[u8]) -> Result<(), RestoreError> {
        let reason = format!("it owns no facts, and was given one of {} bytes as of {}", fact.len(), at.0);
        Err(RestoreError { engine: Self::NAME, reason })
    }

    /// Says, between two batches, whether the journal can take more than what is reserved: when it cannot, an engine
    /// refuses new work and goes on with what makes less of it, such as cancels. Told when it changes, and at the start
    /// when there is none. It is no part of the state that a snapshot holds.
    fn journal_room(&mut self, has_room: bool) {
        let _ = has_room;
    }

    /// Hands over the view of every instrument that changed since the last call.
    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Self::View));

    /// A 64-bit digest of the state: equal states, equal digests (XXH3 of the snapshot).
    fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.snapshot())
    }
}
