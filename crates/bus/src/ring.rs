//! The broadcast ring of the star: one writer, any number of readers with cursors of their own.
//!
//! Every slot is a sequence lock over atomic words, so a reader that is overtaken notices and nothing needs
//! `unsafe`. Every frame has a position, counted from 0; the slot of a position holds it until the position one
//! capacity later is written. The writer waits for nobody and knows of readers only to tell how far behind they
//! are and to ring their doorbells.
//!
//! Protocol: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012, §4.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nautilus_messages::frame::{LONG_LEN, SHORT_LEN};

use crate::doorbell::Doorbell;

const WORDS: usize = LONG_LEN / 8;
const SHORT_WORDS: usize = SHORT_LEN / 8;
/// The first kind of frame that has the long layout (bars and definitions).
const FIRST_LONG_KIND: u8 = 8;

/// The length in bytes of the frame that begins with this kind byte.
#[inline]
pub(crate) const fn frame_len(kind: u8) -> usize {
    if kind >= FIRST_LONG_KIND { LONG_LEN } else { SHORT_LEN }
}

/// A frame's bytes, copied out of the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameBytes {
    bytes: [u8; LONG_LEN],
}

impl FrameBytes {
    pub(crate) const EMPTY: Self = Self { bytes: [0; LONG_LEN] };

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..frame_len(self.bytes[0])]
    }
}

/// `stamp` is 2p+1 while position p is written and 2p+2 once it is complete.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    stamp: AtomicU64,
    words: [AtomicU64; WORDS],
}

const _: () = assert!(size_of::<Slot>() == 128);

#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

/// The instant at which the frame at `position` was handed over.
#[derive(Debug)]
#[repr(align(128))]
struct Mark {
    position: AtomicU64,
    at_ns: AtomicU64,
}

const NO_MARK: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Ring {
    slots: Box<[Slot]>,
    mask: u64,
    /// Positions below are complete or were skipped.
    head: Padded,
    /// The end of the last hole. Polling readers look here and not at `head`, which every frame changes.
    skipped_to: Padded,
    mark: Mark,
    written: AtomicBool,
    readers: Mutex<Vec<Arc<Cursor>>>,
    /// Counts changes of `readers` and of their doorbells.
    registrations: AtomicU64,
    origin: Instant,
}

/// How far one reader is, and the bell that wakes it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cursor {
    position: AtomicU64,
    bell: Mutex<Option<Arc<Doorbell>>>,
}

impl Ring {
    /// A ring of at least `capacity` slots, rounded up to a power of two.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let capacity = capacity.clamp(2, 1 << 24).next_power_of_two();
        let slot = || Slot { stamp: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) };
        Arc::new(Self {
            slots: std::iter::repeat_with(slot).take(capacity).collect(),
            mask: capacity as u64 - 1,
            head: Padded(AtomicU64::new(0)),
            skipped_to: Padded(AtomicU64::new(0)),
            mark: Mark { position: AtomicU64::new(NO_MARK), at_ns: AtomicU64::new(0) },
            written: AtomicBool::new(false),
            readers: Mutex::default(),
            registrations: AtomicU64::new(0),
            origin: Instant::now(),
        })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.0.load(Ordering::Acquire)
    }

    /// How many frames the slowest reader is behind; zero without readers.
    pub(crate) fn lag(&self) -> u64 {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = readers.iter().map(|cursor| cursor.position.load(Ordering::Acquire)).min();
        slowest.map_or(0, |position| self.head().saturating_sub(position))
    }

    /// The writer; `None` when there was one already.
    pub(crate) fn writer(self: &Arc<Self>) -> Option<RingWriter> {
        (!self.written.swap(true, Ordering::AcqRel)).then(|| RingWriter {
            ring: Arc::clone(self),
            next: 0,
            bells: Vec::new(),
            registrations: 0,
        })
    }

    /// A reader that begins at position 0: it learns what it came too late for as a loss.
    pub(crate) fn reader(self: &Arc<Self>) -> RingReader {
        let cursor = Arc::new(Cursor { position: AtomicU64::new(0), bell: Mutex::default() });
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&cursor));
        self.registrations.fetch_add(1, Ordering::Release);
        RingReader { ring: Arc::clone(self), cursor, next: 0, reports: true }
    }

    #[inline]
    fn slot(&self, position: u64) -> &Slot {
        &self.slots[(position & self.mask) as usize]
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
pub(crate) struct RingWriter {
    ring: Arc<Ring>,
    next: u64,
    bells: Vec<Arc<Doorbell>>,
    registrations: u64,
}

impl RingWriter {
    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Notes that the next frame was handed over `age_ns` ago.
    #[inline]
    pub(crate) fn mark(&mut self, age_ns: u64) {
        let mark = &self.ring.mark;
        mark.position.store(NO_MARK, Ordering::Relaxed);
        fence(Ordering::Release);
        mark.at_ns.store(self.ring.now_ns().saturating_sub(age_ns), Ordering::Relaxed);
        mark.position.store(self.next, Ordering::Release);
    }

    /// Writes the frame at the start of `frames` and returns what is behind it.
    ///
    /// # Panics
    /// When `frames` does not begin with a whole frame: the caller checked, or made them.
    #[inline]
    pub(crate) fn write_first<'a>(&mut self, frames: &'a [u8]) -> &'a [u8] {
        let length = frame_len(frames[0]);
        let (frame, rest) = frames.split_at(length);
        let slot = self.ring.slot(self.next);
        slot.stamp.store(2 * self.next + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, bytes) in slot.words.iter().zip(frame.chunks_exact(8)) {
            word.store(u64::from_le_bytes(bytes.try_into().expect("chunks of 8")), Ordering::Relaxed);
        }
        self.next += 1;
        slot.stamp.store(2 * self.next, Ordering::Release);
        self.ring.head.0.store(self.next, Ordering::Release);
        rest
    }

    /// Leaves a hole: positions up to `position` are lost to every reader.
    pub(crate) fn skip_to(&mut self, position: u64) {
        assert!(position >= self.next, "a ring's positions only grow");
        self.next = position;
        self.ring.head.0.store(position, Ordering::Release);
        self.ring.skipped_to.0.store(position, Ordering::Release);
    }

    /// Wakes the readers that sleep.
    #[inline]
    pub(crate) fn ring_bells(&mut self) {
        fence(Ordering::SeqCst);
        if self.ring.registrations.load(Ordering::Acquire) != self.registrations {
            self.collect_bells();
        }
        for bell in &self.bells {
            bell.ring_after_fence();
        }
    }

    #[cold]
    fn collect_bells(&mut self) {
        self.registrations = self.ring.registrations.load(Ordering::Acquire);
        let readers = self.ring.readers.lock().unwrap_or_else(PoisonError::into_inner);
        self.bells.clear();
        for reader in readers.iter() {
            self.bells.extend(reader.bell.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        // Several readers may share one bell; it is rung once.
        self.bells.sort_by_key(Arc::as_ptr);
        self.bells.dedup_by(|a, b| Arc::ptr_eq(a, b));
    }
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// A frame was copied out.
    Frame,
    /// These positions are gone.
    Lost { first: u64, last: u64 },
}

enum Look {
    Whole,
    NotYet,
    Overwritten,
}

#[derive(Debug)]
pub(crate) struct RingReader {
    ring: Arc<Ring>,
    cursor: Arc<Cursor>,
    next: u64,
    /// Whether every read counts at once for the writer's view of the lag.
    reports: bool,
}

impl RingReader {
    /// The position of the frame that comes next.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Begins at `position`; what was not read before it does not count as lost.
    pub(crate) fn seek(&mut self, position: u64) {
        self.advance_to(position);
    }

    pub(crate) fn attach(&mut self, bell: Arc<Doorbell>) {
        bell.ring();
        *self.cursor.bell.lock().unwrap_or_else(PoisonError::into_inner) = Some(bell);
        self.ring.registrations.fetch_add(1, Ordering::SeqCst);
        // Pairs with the fence before the writer looks at `registrations`: either the writer sees the bell
        // or this reader, which looks again after the ring above, sees the frame.
        fence(Ordering::SeqCst);
    }

    /// Copies the next frame into `frame`, or says what is missing.
    #[inline]
    pub(crate) fn read(&mut self, frame: &mut FrameBytes) -> Found {
        match self.copy(self.next, frame) {
            Look::Whole => {
                self.advance_to(self.next + 1);
                Found::Frame
            }
            Look::NotYet if self.ring.skipped_to.0.load(Ordering::Acquire) <= self.next => Found::Nothing,
            Look::NotYet | Look::Overwritten => self.read_behind(frame),
        }
    }

    /// How long ago the frame just read was handed over, when it is the newest that was measured.
    pub(crate) fn age_ns(&self) -> Option<u64> {
        let mark = &self.ring.mark;
        let marked = || mark.position.load(Ordering::Acquire).checked_add(1) == Some(self.next);
        if self.next == 0 || !marked() {
            return None;
        }
        let at_ns = mark.at_ns.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        marked().then(|| self.ring.now_ns().saturating_sub(at_ns))
    }

    /// The frame was not there although the head is past it: it has been written since, or is gone.
    #[cold]
    fn read_behind(&mut self, frame: &mut FrameBytes) -> Found {
        let first = self.next;
        let mut target = first;
        for attempt in 0..8 {
            let head = self.ring.head();
            if head <= first {
                return Found::Nothing;
            }
            // The oldest frame may be overwritten while it is copied: each further attempt keeps a
            // larger distance from the writer.
            let distance = self.ring.capacity() - attempt * self.ring.capacity() / 8;
            target = target.max(head.saturating_sub(distance));
            target = (target..head).find(|&p| self.is_whole(p)).unwrap_or(head);
            if target == first {
                if matches!(self.copy(target, frame), Look::Whole) {
                    self.advance_to(first + 1);
                    return Found::Frame;
                }
            } else if target == head || self.is_whole(target) {
                break;
            }
        }
        // Without a whole frame in eight attempts the reader continues where the writer is.
        if target == first {
            target = self.ring.head();
        }
        self.advance_to(target);
        Found::Lost { first, last: target - 1 }
    }

    #[inline]
    fn is_whole(&self, position: u64) -> bool {
        self.ring.slot(position).stamp.load(Ordering::Acquire) == 2 * position + 2
    }

    #[inline]
    fn copy(&self, position: u64, frame: &mut FrameBytes) -> Look {
        let slot = self.ring.slot(position);
        let whole = 2 * position + 2;
        let before = slot.stamp.load(Ordering::Acquire);
        if before != whole {
            return if before < whole { Look::NotYet } else { Look::Overwritten };
        }
        let first = slot.words[0].load(Ordering::Relaxed).to_le_bytes();
        let words = if frame_len(first[0]) == LONG_LEN { WORDS } else { SHORT_WORDS };
        frame.bytes[..8].copy_from_slice(&first);
        for (word, bytes) in slot.words[1..words].iter().zip(frame.bytes[8..].chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        fence(Ordering::Acquire);
        if slot.stamp.load(Ordering::Relaxed) == whole { Look::Whole } else { Look::Overwritten }
    }

    #[inline]
    fn advance_to(&mut self, position: u64) {
        self.next = position;
        if self.reports {
            self.report();
        }
    }

    /// From now on what is read counts for the lag only once [`Self::report`] is called.
    pub(crate) fn report_by_hand(&mut self) {
        self.reports = false;
    }

    /// Everything read so far is dealt with.
    #[inline]
    pub(crate) fn report(&self) {
        self.cursor.position.store(self.next, Ordering::Release);
    }
}

impl Drop for RingReader {
    fn drop(&mut self) {
        let mut readers = self.ring.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|cursor| !Arc::ptr_eq(cursor, &self.cursor));
        self.ring.registrations.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nautilus_messages::frame::Kind;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// A frame whose every word tells its position; long ones are bars.
    fn frame(position: u64, long: bool) -> Vec<u8> {
        let kind = if long { Kind::Bar } else { Kind::Trade };
        let mut bytes: Vec<u8> = position.to_le_bytes().repeat(kind.len() / 8);
        bytes[0] = kind as u8;
        bytes
    }

    fn position_of(frame: &[u8]) -> u64 {
        let word = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
        let position = word(8);
        assert!((8..frame.len()).step_by(8).all(|at| word(at) == position), "a torn frame");
        position
    }

    #[test]
    fn lengths_follow_from_the_kind() {
        for kind in Kind::ALL {
            assert_eq!(frame_len(kind as u8), kind.len());
        }
    }

    #[test]
    fn a_ring_has_one_writer() {
        let ring = Ring::new(8);
        assert!(ring.writer().is_some());
        assert!(ring.writer().is_none());
    }

    #[test]
    fn lag_is_that_of_the_slowest_reader_alive() {
        let ring = Ring::new(8);
        let mut writer = ring.writer().expect("the first writer");
        let slow = ring.reader();
        let mut fast = ring.reader();
        for position in 0..5 {
            writer.write_first(&frame(position, false));
        }
        assert_eq!(fast.read(&mut FrameBytes::EMPTY.clone()), Found::Frame);
        assert_eq!(ring.lag(), 5);
        drop(slow);
        assert_eq!(ring.lag(), 4);
        drop(fast);
        assert_eq!(ring.lag(), 0);
    }

    /// Which positions a ring of `CAPACITY` still holds, kept the obvious way.
    #[derive(Default)]
    struct Model {
        written: VecDeque<u64>,
        end: u64,
    }

    impl Model {
        const CAPACITY: u64 = 16;

        fn write(&mut self) {
            self.written.retain(|p| p % Self::CAPACITY != self.end % Self::CAPACITY);
            self.written.push_back(self.end);
            self.end += 1;
        }

        /// What a reader at `next` finds, and where it is afterwards.
        fn read(&self, next: u64) -> (Found, u64) {
            if self.written.contains(&next) {
                return (Found::Frame, next + 1);
            }
            if next == self.end {
                return (Found::Nothing, next);
            }
            let oldest = self.end.saturating_sub(Self::CAPACITY).max(next);
            let target = self.written.iter().copied().find(|p| *p >= oldest).unwrap_or(self.end);
            (Found::Lost { first: next, last: target - 1 }, target)
        }
    }

    proptest! {
        /// Steps: write so many frames, leave a hole of so many, or read so often.
        #[test]
        fn it_agrees_with_a_deque(
            steps in prop::collection::vec((0..9_u8, 1..40_u64, any::<bool>()), 1..60)
        ) {
            let ring = Ring::new(Model::CAPACITY as usize);
            let mut writer = ring.writer().expect("the first writer");
            let mut reader = ring.reader();
            let mut model = Model::default();
            let mut next = 0;
            for (what, count, long) in steps {
                match what {
                    0..4 => for _ in 0..count {
                        writer.write_first(&frame(model.end, long));
                        model.write();
                    },
                    4 => {
                        model.end += count;
                        writer.skip_to(model.end);
                    }
                    _ => for _ in 0..count {
                        let mut bytes = FrameBytes::EMPTY;
                        let (found, after) = model.read(next);
                        prop_assert_eq!(reader.read(&mut bytes), found);
                        if found == Found::Frame {
                            prop_assert_eq!(position_of(bytes.as_slice()), next);
                        }
                        next = after;
                        prop_assert_eq!(reader.position(), next);
                    },
                }
                prop_assert_eq!(ring.lag(), model.end - next);
            }
        }
    }

    /// Readers that keep up, readers that are lapped all the time, and one that sleeps: no torn frame, no
    /// position twice, none left out without being told.
    #[test]
    fn no_frame_is_torn_and_every_position_is_accounted_for() {
        const FRAMES: u64 = 300_000;
        let ring = Ring::new(64);
        let mut writer = ring.writer().expect("the first writer");
        std::thread::scope(|scope| {
            for index in 0..4_u64 {
                let mut reader = ring.reader();
                let bell = Doorbell::new();
                if index == 0 {
                    reader.attach(Arc::clone(&bell));
                }
                scope.spawn(move || {
                    let mut bytes = FrameBytes::EMPTY;
                    let mut next = 0;
                    while next < FRAMES {
                        match reader.read(&mut bytes) {
                            Found::Nothing if index == 0 => bell.wait(std::time::Duration::from_secs(60)),
                            Found::Nothing => std::thread::yield_now(),
                            Found::Frame => {
                                assert_eq!(position_of(bytes.as_slice()), next);
                                next += 1;
                            }
                            Found::Lost { first, last } => {
                                assert_eq!(first, next);
                                assert!(last >= first);
                                next = last + 1;
                            }
                        }
                    }
                    assert_eq!(next, FRAMES);
                });
            }
            for position in 0..FRAMES {
                writer.write_first(&frame(position, position % 3 == 0));
                writer.ring_bells();
                if position % 1_000 == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    fn only_the_frame_that_was_marked_has_an_age() {
        let ring = Ring::new(8);
        let mut writer = ring.writer().expect("the first writer");
        let mut reader = ring.reader();
        let mut bytes = FrameBytes::EMPTY;
        assert_eq!(reader.age_ns(), None);
        writer.mark(5_000_000);
        writer.write_first(&frame(0, false));
        writer.write_first(&frame(1, false));
        assert_eq!(reader.read(&mut bytes), Found::Frame);
        assert!(reader.age_ns().is_some());
        assert_eq!(reader.read(&mut bytes), Found::Frame);
        assert_eq!(reader.age_ns(), None);
    }
}
