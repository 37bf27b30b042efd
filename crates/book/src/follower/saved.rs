//! A followed book as it is kept over a restart.
//!
//! The same state gives the same bytes; what makes no sense is refused.

use nautilus_messages::frame::{BookState, Frames, TradingState};
use nautilus_types::Price;
use serde::{Deserialize, Serialize};

use super::{BookFollower, HELD_MAX, Held, Staged, Standing};
use crate::book::BookLimits;
use crate::depth::{Depth, SavedDepth};

/// A followed book in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFollower {
    tick: Price,
    depth: SavedDepth,
    standing: Standing,
    applied: u64,
    trading: TradingState,
    state: BookState,
    marks_last: bool,
    mid_event: bool,
    held: Held,
    staged: Option<SavedStaged>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedStaged {
    sequence: u64,
    tick: Price,
    trading: TradingState,
    state: BookState,
    depth: Option<SavedDepth>,
    changes: u32,
    refused: bool,
}

impl BookFollower {
    /// The whole state, to be kept.
    #[must_use]
    pub fn save(&self) -> SavedFollower {
        let staged = self.staged.as_ref().map(|staged| SavedStaged {
            sequence: staged.sequence,
            tick: staged.tick,
            trading: staged.trading,
            state: staged.state,
            depth: staged.depth.as_ref().map(Depth::save),
            changes: staged.changes,
            refused: staged.refused,
        });
        SavedFollower {
            tick: self.tick,
            depth: self.depth.save(),
            standing: self.standing,
            applied: self.applied,
            trading: self.trading,
            state: self.state,
            marks_last: self.marks_last,
            mid_event: self.mid_event,
            held: self.held.clone(),
            staged,
        }
    }

    /// The follower that was saved.
    ///
    /// # Errors
    /// A reason, when the saved state makes no sense.
    pub fn restore(saved: SavedFollower, limits: BookLimits) -> Result<Self, String> {
        let book = |saved: &SavedDepth| Depth::restore(saved, limits).map_err(|error| error.to_string());
        if saved.held.bytes.len() > HELD_MAX {
            return Err(format!("more than {HELD_MAX} bytes of frames are held"));
        }
        if let Some(Err(error)) = Frames::new(&saved.held.bytes).find(Result::is_err) {
            return Err(error.to_string());
        }
        let staged = match saved.staged {
            None => None,
            Some(staged) => Some(Staged {
                sequence: staged.sequence,
                tick: staged.tick,
                trading: staged.trading,
                state: staged.state,
                depth: staged.depth.as_ref().map(book).transpose()?,
                changes: staged.changes,
                refused: staged.refused,
            }),
        };
        Ok(Self {
            limits,
            tick: saved.tick,
            depth: book(&saved.depth)?,
            standing: saved.standing,
            applied: saved.applied,
            trading: saved.trading,
            state: saved.state,
            marks_last: saved.marks_last,
            mid_event: saved.mid_event,
            held: saved.held,
            staged,
        })
    }
}
