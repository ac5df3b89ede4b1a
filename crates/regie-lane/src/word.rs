//! The state word of a slot: all that decides whose a slot is, in 64 bits that change together.
//!
//! ```text
//!  63            32 31          16 15        4 3     0
//! ┌────────────────┬──────────────┬───────────┬───────┐
//! │ turn           │ generation   │ seat      │ state │
//! └────────────────┴──────────────┴───────────┴───────┘
//!   of the slot      of the worker's seat
//! ```
//!
//! The turn counts the uses of a slot and makes a stale hint harmless: who compares and swaps with the turn that it
//! has read can only meet the very request that it means. A process would have to sleep through 2³² uses of one slot
//! between two instructions to be fooled.

/// Who has a slot: a worker's seat, and which holder of that seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The seat, below [`SEAT_LIMIT`].
    pub seat: u16,
    /// Which holder of the seat, counted from 1 and round again.
    pub generation: u16,
}

/// Seats that a state word can name.
pub const SEAT_LIMIT: u16 = 1 << 12;

/// What a slot is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The gateway's: unused, or being filled.
    Free,
    /// A complete request that any worker may take, and that the gateway may take back.
    Queued,
    /// In the hands of a worker.
    Taken(Holder),
    /// The answer is complete; the slot is the gateway's again.
    Done(Holder),
    /// The worker died with it; the slot is the gateway's again.
    Died(Holder),
}

/// A state and the turn it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Which use of the slot.
    pub turn: u32,
    /// Its state.
    pub state: State,
}

impl Word {
    /// A word of `turn`.
    #[must_use]
    pub const fn new(turn: u32, state: State) -> Self {
        Self { turn, state }
    }

    /// As it lies in memory.
    #[must_use]
    pub fn encode(self) -> u64 {
        let (code, holder) = match self.state {
            State::Free => (0, None),
            State::Queued => (1, None),
            State::Taken(by) => (2, Some(by)),
            State::Done(by) => (3, Some(by)),
            State::Died(by) => (4, Some(by)),
        };
        let holder =
            holder.map_or(0, |h| u64::from(h.seat & (SEAT_LIMIT - 1)) << 4 | u64::from(h.generation) << 16);
        u64::from(self.turn) << 32 | holder | code
    }

    /// The word in `bits`; none when no process of ours wrote it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub const fn decode(bits: u64) -> Option<Self> {
        let by = Holder { seat: (bits >> 4) as u16 & (SEAT_LIMIT - 1), generation: (bits >> 16) as u16 };
        let state = match bits & 0xf {
            0 => State::Free,
            1 => State::Queued,
            2 => State::Taken(by),
            3 => State::Done(by),
            4 => State::Died(by),
            _ => return None,
        };
        Some(Self { turn: (bits >> 32) as u32, state })
    }
}

/// The turn after `turn`. Zero is never used, so that zeroed memory belongs to no request.
#[must_use]
pub const fn next_turn(turn: u32) -> u32 {
    match turn.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_and_foreign_ones_are_seen() {
        let by = Holder { seat: SEAT_LIMIT - 1, generation: u16::MAX };
        for state in [State::Free, State::Queued, State::Taken(by), State::Done(by), State::Died(by)] {
            for turn in [1, 77, u32::MAX] {
                let word = Word::new(turn, state);
                assert_eq!(Word::decode(word.encode()), Some(word));
            }
        }
        assert_eq!(Word::decode(0xf), None);
        assert_eq!(next_turn(u32::MAX), 1);
    }
}
