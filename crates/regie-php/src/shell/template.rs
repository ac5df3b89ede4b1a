//! Rewind mode: the template, of which workers are made, and how the master speaks with it.
//!
//! ```text
//!   master                                  template
//!   fork ─────────────────────────────────▶ runs the boot script up to its checkpoint, takes the snapshot
//!   READY ◀──────────────────────────────── parked
//!   seat ─────────────────────────────────▶ clones itself; the child is the master's, and a worker
//!   pid, or minus an errno ◀───────────────
//! ```
//!
//! The template does nothing else for the rest of its life. When the master is gone the socket ends, and the template
//! with it. Its workers do not need it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::Pid;
use regie_php_sys as sys;

/// The first word of a template that is parked.
const READY: i32 = i32::MIN;
/// A parked template answers at once; one that does not is of no use.
const ANSWER_WITHIN_MS: u16 = 5_000;

/// Fewer may be chance.
const LOSSES: u64 = 16;

/// The master's side.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) pid: Pid,
    socket: OwnedFd,
    pub(crate) is_ready: bool,
}

/// The template's side.
#[derive(Debug)]
pub(crate) struct Desk(OwnedFd);

/// What a template does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This process is a worker now, in that seat.
    Worker(usize),
    /// It is of no more use.
    Over,
}

/// The two ends.
pub(crate) fn pair() -> nix::Result<(OwnedFd, Desk)> {
    let (master, template) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((master, Desk(template)))
}

impl Template {
    pub(crate) fn new(pid: Pid, socket: OwnedFd) -> Self {
        Self { pid, socket, is_ready: false }
    }

    /// What to wait for while it boots.
    pub(crate) fn waits_on(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_ready).then(|| self.socket.as_fd())
    }

    /// Whether it has just said that it is parked.
    pub(crate) fn has_become_ready(&mut self) -> bool {
        let mut word = [0; 4];
        let said = recv(self.socket.as_raw_fd(), &mut word, MsgFlags::MSG_DONTWAIT);
        let ready = !self.is_ready && said == Ok(4) && i32::from_ne_bytes(word) == READY;
        self.is_ready |= ready;
        ready
    }

    /// Has a worker made for that seat.
    pub(crate) fn make_worker(&self, seat: usize) -> nix::Result<Pid> {
        let seat = i32::try_from(seat).map_err(|_| Errno::EINVAL)?;
        send(self.socket.as_raw_fd(), &seat.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL)?;
        let mut waits = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waits, ANSWER_WITHIN_MS)? == 0 {
            return Err(Errno::ETIMEDOUT);
        }
        let mut word = [0; 4];
        match recv(self.socket.as_raw_fd(), &mut word, MsgFlags::empty())? {
            4 => match i32::from_ne_bytes(word) {
                pid @ 1.. => Ok(Pid::from_raw(pid)),
                error => Err(Errno::from_raw(error.saturating_neg())),
            },
            _ => Err(Errno::ESRCH),
        }
    }
}

/// Whether rewind mode is of no use, where that many of so many requests have cost their worker.
pub(crate) fn loses_too_many(lost: u64, requests: u64) -> bool {
    lost >= LOSSES && lost * 4 > requests
}

impl Desk {
    /// Says that the checkpoint is reached, and makes workers until the master is gone.
    pub(crate) fn serve(&self, leaving: impl Fn() -> bool) -> Turn {
        self.say(READY);
        loop {
            let mut word = [0; 4];
            match recv(self.0.as_raw_fd(), &mut word, MsgFlags::empty()) {
                Ok(4) => {}
                Err(Errno::EINTR) if !leaving() => continue,
                _ => return Turn::Over,
            }
            // SAFETY: the template has one thread.
            match unsafe { sys::regie_rewind_fork() } {
                0 => return Turn::Worker(usize::try_from(i32::from_ne_bytes(word)).unwrap_or(0)),
                -1 => self.say(-Errno::last_raw()),
                pid => self.say(pid),
            }
        }
    }

    fn say(&self, word: i32) {
        let _ = send(self.0.as_raw_fd(), &word.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
    }
}

/// Room in which C tells a reason.
pub(crate) struct Why([u8; 1024]);

impl Why {
    pub(crate) const fn new() -> Self {
        Self([0; 1024])
    }

    /// Where C writes it, and how much.
    pub(crate) fn room(&mut self) -> (*mut std::ffi::c_char, usize) {
        (self.0.as_mut_ptr().cast(), self.0.len())
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
