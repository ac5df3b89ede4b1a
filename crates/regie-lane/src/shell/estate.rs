//! What a gateway leaves when it dies, and who takes it.
//!
//! A plain successor ([`Gateway::sit_down`]) clears the seat: what nobody has taken is taken back, what a worker has is
//! aborted and becomes free when the worker is done. A page whose visitor is gone is of no use to anybody.
//!
//! An heir ([`Gateway::inherit`]) is told of every **kept** request ([`Gateway::submit_kept`]) that the dead one had
//! in the lane, before anything is freed:
//!
//! ```text
//!   the slot is     the heir gets                             because
//!   QUEUED          Remains::NotBegun                         it was taken back; no worker has seen it
//!   TAKEN           Remains::Begun, answered later            a worker is at it and writes its answer to the slot
//!   DONE            Remains::Begun, answered at once          the answer lies there
//!   DIED            Remains::Begun, which says so             the worker died with it
//!   FREE            nothing                                   it was never submitted, or it was released
//! ```
//!
//! A worker needs no gateway to finish: it writes the answer, says DONE, and takes the next request. So however a
//! gateway ends, each kept request is found in exactly one of these states by the next one, and a request whose release
//! was not reached is found again. An answer that is longer than the ring (`Shape::response`) needs a reader while it
//! is written; whoever keeps requests keeps their answers shorter.

use std::io;
use std::sync::Arc;

use super::exchange::Exchange;
use super::files::Lane;
use super::gateway::{Gateway, Kind, Use};
use super::sys;
use crate::shape::GATEWAYS;
use crate::slot::Slot;
use crate::word::{State, Word};

/// A kept request that a gateway has left.
#[derive(Debug)]
pub struct Left {
    /// Its parameters.
    pub head: Vec<u8>,
    /// What has become of it.
    pub remains: Remains,
}

/// What has become of a kept request whose gateway died.
#[derive(Debug)]
pub enum Remains {
    /// No worker has seen it. It is not in the lane any more.
    NotBegun,
    /// A worker has or had it. The answer is read from its beginning, and the slot is freed by [`Exchange::release`].
    Begun(Exchange),
}

impl Gateway {
    /// Takes a seat as [`Self::sit_down`] does, and every other empty seat on which kept requests were left. The first
    /// is for requests to come; of the others [`Self::drive`] must run until what was left there is released.
    ///
    /// # Errors
    /// When all seats are taken.
    pub fn inherit(lane: &Arc<Lane>) -> io::Result<Vec<(Self, Vec<Left>)>> {
        let mut inherited = Vec::new();
        for seat in 0..GATEWAYS {
            let Some(held) = lane.sit_as_gateway_on(seat)? else { continue };
            let left: Vec<(u16, u32)> = take_kept(lane, seat);
            if left.is_empty() && !inherited.is_empty() {
                continue;
            }
            let uses = take_over(lane, seat, &left);
            let gateway = Self::on_seat(lane.clone(), held, seat, uses)?;
            let left = left.into_iter().map(|(at, turn)| gateway.left(at, turn)).collect();
            inherited.push((gateway, left));
        }
        if inherited.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "all gateways' seats of the lane are taken",
            ));
        }
        Ok(inherited)
    }

    fn left(&self, at: u16, turn: u32) -> Left {
        let exchange = Exchange::inherited(self.shared.clone(), at, turn);
        let head = exchange.head();
        let remains = if exchange.is_taken_back() {
            exchange.release();
            Remains::NotBegun
        } else {
            Remains::Begun(exchange)
        };
        Left { head, remains }
    }
}

/// The slots of `seat` with kept requests. Those that nobody has taken are taken back.
fn take_kept(lane: &Lane, seat: usize) -> Vec<(u16, u32)> {
    let mut found = Vec::new();
    for (at, slot) in (0..).zip(lane.memory.slots(seat)) {
        let Some(word) = slot.word().filter(|_| slot.is_kept()) else { continue };
        match word.state {
            State::Free => {}
            State::Queued => {
                slot.take_back(word.turn);
                found.push((at, word.turn));
            }
            State::Taken(_) | State::Done(_) | State::Died(_) => found.push((at, word.turn)),
        }
    }
    found
}

/// What the last gateway on this seat has left: what nobody has taken is taken back, what a worker has is aborted and
/// becomes free when the worker is done. But for the slots and turns in `left`, which are held as they are.
pub(super) fn take_over(lane: &Lane, seat: usize, left: &[(u16, u32)]) -> Vec<Use> {
    let mut uses = Vec::new();
    for (at, slot) in (0..).zip(lane.memory.slots(seat)) {
        let word = slot.word().unwrap_or(Word::new(0, State::Free));
        let kind = match word.state {
            _ if left.contains(&(at, word.turn)) => Kind::Held,
            State::Queued if !slot.take_back(word.turn) => Kind::Orphan,
            State::Taken(_) => Kind::Orphan,
            _ => Kind::Free,
        };
        match kind {
            Kind::Orphan => abandon(slot, word.turn),
            Kind::Free => slot.free(word.turn),
            Kind::Held | Kind::Left | Kind::Lost => {}
        }
        uses.push(Use { turn: word.turn, kind, waker: None });
    }
    uses
}

pub(super) fn abandon(slot: &Slot, turn: u32) {
    slot.abort(turn);
    if slot.must_wake() {
        sys::futex_wake(slot.waiting());
    }
}
