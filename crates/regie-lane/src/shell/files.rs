//! The descriptors of a lane: its memory, the workers' bell and a bell for each gateway. The supervisor makes them
//! (or whoever starts alone), and hands them on by name; they outlive every process that uses them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use super::memory::Memory;
use super::sys;
use crate::header::Header;
use crate::shape::{GATEWAYS, PRIORITIES, Shape};
use crate::word::{Holder, SEAT_LIMIT};

/// The bytes of the file that are locked for seats lie far behind its end.
const WORKER_SEATS: i64 = 1 << 40;
const GATEWAY_SEATS: i64 = 1 << 41;

/// A lane in this process: its descriptors and its memory, without a seat yet.
#[derive(Debug)]
pub struct Lane {
    memory_file: OwnedFd,
    bell: OwnedFd,
    gateway_bells: Vec<OwnedFd>,
    pub(crate) memory: Memory,
}

impl Lane {
    /// Makes a lane.
    ///
    /// # Errors
    /// When the shape is none, or the system has no room for it.
    pub fn create(shape: Shape) -> io::Result<Self> {
        let shape = shape.check().map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
        let memory_file = sys::memory_file(c"regie-lane", Memory::size(shape))?;
        let memory = Memory::create(memory_file.as_fd(), shape)?;
        let gateway_bells = (0..GATEWAYS).map(|_| sys::event()).collect::<io::Result<_>>()?;
        Ok(Self { memory_file, bell: sys::event()?, gateway_bells, memory })
    }

    /// Opens a lane that was handed on: `find` gives the descriptor of a name out of [`Self::names`]. The descriptors
    /// stay open in the caller's process, which need not keep them.
    ///
    /// # Errors
    /// When a descriptor is missing or is no part of a lane of this version.
    pub fn open(name: &str, find: impl Fn(&str) -> Option<RawFd>) -> io::Result<Self> {
        let mut descriptors = Vec::new();
        for wanted in Self::names(name) {
            let missing =
                || io::Error::new(io::ErrorKind::NotFound, format!("no descriptor is called {wanted}"));
            descriptors.push(sys::duplicate(find(&wanted).ok_or_else(missing)?)?);
        }
        let gateway_bells = descriptors.split_off(2);
        let (Some(bell), Some(memory_file)) = (descriptors.pop(), descriptors.pop()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let memory = Memory::open(memory_file.as_fd())?;
        Ok(Self { memory_file, bell, gateway_bells, memory })
    }

    /// The names under which the descriptors of the lane `name` (say `php.web.lane`) are handed on, in the order of
    /// [`Self::descriptors`].
    #[must_use]
    pub fn names(name: &str) -> Vec<String> {
        let gateways = (0..GATEWAYS).map(|at| format!("{name}.gateway{at}"));
        [name.to_owned(), format!("{name}.bell")].into_iter().chain(gateways).collect()
    }

    /// The descriptors to hand on.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.memory_file, &self.bell].into_iter().chain(&self.gateway_bells).map(OwnedFd::as_fd)
    }

    /// Leaves the descriptors open in programs that are started from here.
    ///
    /// # Errors
    /// None in practice.
    pub fn keep_over_exec(&self) -> io::Result<()> {
        self.descriptors().try_for_each(sys::keep_over_exec)
    }

    /// The lane's shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.memory.shape()
    }

    pub(super) fn header(&self) -> &Header {
        self.memory.header()
    }

    /// The memory itself, for tests that look inside or do harm.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Requests that no worker has taken, as far as a look from outside can tell.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let rings =
            (0..GATEWAYS).flat_map(|gateway| (0..PRIORITIES).map(move |priority| (gateway, priority)));
        rings.map(|(gateway, priority)| self.memory.ring(gateway, priority).position().1).sum()
    }

    /// How many workers a gateway wishes for; none where it leaves that to those who count what waits.
    #[must_use]
    pub fn wished(&self) -> Option<usize> {
        let wished = self.header().wished.load(std::sync::atomic::Ordering::Relaxed);
        wished.checked_sub(1).map(|count| count as usize)
    }

    /// How many workers have a seat.
    #[must_use]
    pub fn seated(&self) -> usize {
        let words = &self.header().seated.0[..self.header().sleepers.used()];
        words.iter().map(|w| w.load(std::sync::atomic::Ordering::Relaxed).count_ones() as usize).sum()
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(super) fn gateway_bell(&self, gateway: usize) -> BorrowedFd<'_> {
        self.gateway_bells[gateway].as_fd()
    }

    /// Locks a worker's seat through a descriptor that is kept for as long as the seat.
    pub(super) fn sit_as_worker(&self) -> io::Result<(OwnedFd, Holder)> {
        use std::sync::atomic::Ordering::Relaxed;
        let file = sys::reopen(self.memory_file.as_fd())?;
        for (seat, entry) in (0..SEAT_LIMIT).zip(&self.header().workers) {
            // Seats that look taken are tried only after those that do not: see below.
            if entry.pid.load(Relaxed) == 0 && sys::lock_byte(file.as_fd(), WORKER_SEATS + i64::from(seat))? {
                return Ok((file, self.begin_seat(seat)));
            }
        }
        for seat in 0..u16::try_from(self.header().workers.len()).unwrap_or(SEAT_LIMIT) {
            if sys::lock_byte(file.as_fd(), WORKER_SEATS + i64::from(seat))? {
                // Its last holder died and nobody has buried it.
                self.bury(seat);
                return Ok((file, self.begin_seat(seat)));
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "all seats of the lane are taken"))
    }

    fn begin_seat(&self, seat: u16) -> Holder {
        use std::sync::atomic::Ordering::Relaxed;
        let entry = &self.header().workers[usize::from(seat)];
        let generation = entry.generation.load(Relaxed).wrapping_add(1);
        entry.generation.store(generation, Relaxed);
        entry.pid.store(std::process::id(), Relaxed);
        self.header().sleepers.open(seat);
        self.header().seated.0[usize::from(seat) / 64].fetch_or(1 << (seat % 64), Relaxed);
        Holder { seat, generation: (generation & 0xffff) as u16 }
    }

    /// Locks a gateway's seat.
    #[cfg(feature = "gateway")]
    pub(super) fn sit_as_gateway(&self) -> io::Result<(GatewaySeat, usize)> {
        for seat in 0..GATEWAYS {
            if let Some(held) = self.sit_as_gateway_on(seat)? {
                return Ok((held, seat));
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "all gateways' seats of the lane are taken"))
    }

    /// Locks that seat of a gateway; none when somebody holds it.
    #[cfg(feature = "gateway")]
    pub(super) fn sit_as_gateway_on(&self, seat: usize) -> io::Result<Option<GatewaySeat>> {
        let file = sys::reopen(self.memory_file.as_fd())?;
        let at = GATEWAY_SEATS + i64::try_from(seat).unwrap_or(0);
        Ok(sys::lock_byte(file.as_fd(), at)?.then_some(GatewaySeat { file, at }))
    }

    /// Locks the seat of a worker through `file` for as long as `clean` runs; none when somebody lives there (or is
    /// cleaning up there already).
    pub(super) fn with_empty_seat<T>(
        file: BorrowedFd<'_>,
        seat: u16,
        clean: impl FnOnce() -> T,
    ) -> Option<T> {
        let at = WORKER_SEATS + i64::from(seat);
        let locked = sys::lock_byte(file, at).unwrap_or(false);
        locked.then(|| {
            let result = clean();
            sys::unlock_byte(file, at);
            result
        })
    }

    /// Whether the seat of a gateway is held by a process other than the one that `file` belongs to.
    pub(super) fn gateway_lives(file: BorrowedFd<'_>, gateway: usize) -> bool {
        sys::is_byte_locked(file, GATEWAY_SEATS + i64::try_from(gateway).unwrap_or(0)).unwrap_or(true)
    }

    /// What follows the death of the worker on `seat`: its request is marked, the gateways are told, and one sleeper
    /// is woken, as the dead one may have swallowed a wake-up. May be done twice. How many slots are to be looked at.
    pub(super) fn bury(&self, seat: u16) -> usize {
        use std::sync::atomic::Ordering::Relaxed;
        let header = self.header();
        let mut found = 0;
        for (gateway, desk) in header.gateways.iter().map(|g| &g.desk).enumerate() {
            for (at, slot) in (0..).zip(self.memory.slots(gateway)) {
                if slot.bury(seat) {
                    found += 1;
                    desk.announce(at);
                }
            }
            // Also where nothing was found: it may have died between its announcement and the ring.
            sys::ring(self.gateway_bell(gateway));
        }
        header.sleepers.get_up(seat);
        header.seated.0[usize::from(seat) / 64].fetch_and(!(1 << (seat % 64)), Relaxed);
        header.workers[usize::from(seat)].pid.store(0, Relaxed);
        sys::ring(self.bell());
        found
    }

    pub(super) fn memory_file(&self) -> BorrowedFd<'_> {
        self.memory_file.as_fd()
    }
}

/// A gateway's hold on its seat. A process that dies loses it with its descriptors; one that goes on gives it up in so many
/// words, since a child that it starts just now has the same descriptor until it is its own program.
#[cfg(feature = "gateway")]
pub(super) struct GatewaySeat {
    file: OwnedFd,
    at: i64,
}

#[cfg(feature = "gateway")]
impl Drop for GatewaySeat {
    fn drop(&mut self) {
        sys::unlock_byte(self.file.as_fd(), self.at);
    }
}

impl AsRef<Self> for Lane {
    fn as_ref(&self) -> &Self {
        self
    }
}
