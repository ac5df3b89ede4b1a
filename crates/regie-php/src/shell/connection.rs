//! A FastCGI connection of a worker: one peer, one request at a time, fixed buffers.
//!
//! Reading: bytes come into the inbox, a [`Framer`] cuts them. A piece of the body stays in the inbox until PHP asks for
//! it; nothing is read ahead of what fits, so a fast sender is held back by the kernel.
//!
//! Writing: response bytes gather in the outbox behind room for a record's header. A small response leaves in one
//! system call together with END_REQUEST; larger pieces go from PHP's memory to the socket without a copy. When the
//! peer does not read, the send blocks, and with it PHP: memory does not grow. A peer that takes nothing for
//! `io_timeout` is given up.

use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, sendmsg};
use nix::unistd::close;
use regie_fastcgi::management::{self, GOAWAY};
use regie_fastcgi::{BeginRequest, EndRequest, Framer, HEADER_LEN, Header, Kind, ProtocolStatus, Role, Step};

use super::listen::TICK;

/// Bytes that can have come without having been understood yet.
pub(crate) const INBOX: usize = 64 * 1024;
/// Bytes of a response that gather before they are sent, as one record. A multiple of 8.
const RECORD_MAX: usize = 65_528;
/// The outbox: a record's header, its content, END_REQUEST and GOAWAY.
pub(crate) const OUTBOX: usize = HEADER_LEN + RECORD_MAX + 32;
/// Records that go out in one system call at most.
const RECORDS_AT_ONCE: usize = 16;
/// How long a peer that was told of our leaving may take to close.
const GOODBYE_TICKS: u32 = 3;

/// What a connection is asked by its worker, while it waits.
pub(crate) trait Surroundings {
    /// The worker shall leave as soon as it has no request.
    fn leaving(&self) -> bool;
    /// A while has passed: is the master still there?
    fn look(&self);
    /// The request in hand has passed its time limit.
    fn timed_out(&self) -> bool;
    /// Workers of the pool.
    fn workers(&self) -> usize;
}

/// What waiting for a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A request: its parameters have come whole.
    Request,
    /// Its parameters are more than is taken.
    TooLarge,
    /// The connection is over.
    Closed,
}

/// For the signal handler that answers in place of a stuck PHP.
static LAST_RESORT_FD: AtomicI32 = AtomicI32::new(-1);
static LAST_RESORT_ID: AtomicU32 = AtomicU32::new(0);
static UNSENT: AtomicBool = AtomicBool::new(false);
static GAVE_UP: AtomicBool = AtomicBool::new(false);

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: RawFd,
    inbox: &'static mut [u8],
    outbox: &'static mut [u8],
    framer: Framer,
    /// Bytes of the inbox that were not taken yet.
    start: usize,
    end: usize,
    /// Bytes of the inbox that belong to the body and were not given out yet.
    body_start: usize,
    body_end: usize,
    body_over: bool,
    /// Response bytes in the outbox.
    gathered: usize,
    /// 0: none in hand.
    request_id: u16,
    keep: bool,
    knows_goaway: bool,
    said_goodbye: bool,
    /// It has had a request. One that has not may have its first under way, and is not left before that.
    served: bool,
    /// The peer is gone, or the stream is of no further use.
    broken: bool,
    /// The peer has lost interest in the request.
    aborted: bool,
    /// The response is over; what the script still writes is dropped.
    response_over: bool,
    /// The peer may stay as long as it likes between requests.
    patient: bool,
    io_timeout: Duration,
}

enum Fill {
    Some,
    Tick,
    Interrupted,
    Gone,
}

impl Connection {
    pub(crate) fn new(inbox: &'static mut [u8], outbox: &'static mut [u8], io_timeout: Duration) -> Self {
        Self {
            fd: -1,
            inbox,
            outbox,
            framer: Framer::default(),
            start: 0,
            end: 0,
            body_start: 0,
            body_end: 0,
            body_over: true,
            gathered: 0,
            request_id: 0,
            keep: false,
            knows_goaway: false,
            said_goodbye: false,
            served: false,
            broken: false,
            aborted: false,
            response_over: true,
            patient: true,
            io_timeout,
        }
    }

    /// The descriptor, or -1.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Begins with a new peer.
    pub(crate) fn open(&mut self, fd: RawFd, patient: bool) {
        self.close();
        self.patient = patient;
        self.fd = fd;
        self.framer = Framer::default();
        (self.start, self.end, self.body_start, self.body_end) = (0, 0, 0, 0);
        self.gathered = 0;
        self.request_id = 0;
        (self.knows_goaway, self.said_goodbye, self.served, self.broken) = (false, false, false, false);
        self.keep = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.fd >= 0
    }

    pub(crate) fn close(&mut self) {
        LAST_RESORT_FD.store(-1, Relaxed);
        if self.fd >= 0 {
            let _ = close(self.fd);
            self.fd = -1;
        }
    }

    // --- reading ------------------------------------------------------------------------------------------------

    /// Waits for a request and gathers its parameters, still encoded, in `params`. Returns their length with it.
    pub(crate) fn next(&mut self, params: &mut [u8], around: &impl Surroundings) -> (Arrival, usize) {
        let mut gathered = 0;
        let mut too_large = false;
        let mut waited = Duration::ZERO;
        let mut goodbye_ticks = 0;
        loop {
            let step = match self.framer.step(&self.inbox[self.start..self.end]) {
                Ok((taken, step)) => {
                    self.start += taken;
                    step
                }
                Err(_) => return (Arrival::Closed, 0),
            };
            match step {
                Step::Skipped => continue,
                Step::Record { kind: Kind::BeginRequest, request_id, body } => {
                    match begin(self.request_id, request_id, body) {
                        Begin::Accept { keep } => {
                            self.request_id = request_id;
                            self.keep = keep;
                            (gathered, too_large) = (0, false);
                            self.reset_request();
                        }
                        Begin::Refuse(record) => {
                            if !self.send(&record) {
                                return (Arrival::Closed, 0);
                            }
                        }
                        Begin::Broken => return (Arrival::Closed, 0),
                    }
                    continue;
                }
                Step::Record { kind: Kind::AbortRequest, request_id, .. } => {
                    if request_id == self.request_id && request_id != 0 {
                        self.aborted = true;
                        if !self.end_request(false) {
                            return (Arrival::Closed, 0);
                        }
                    }
                    continue;
                }
                Step::Record { kind: Kind::GetValues, request_id: 0, body } => {
                    let answer = management::answer_values(body, around.workers());
                    self.knows_goaway |= asks_for_goaway(body);
                    if !self.send(&answer) {
                        return (Arrival::Closed, 0);
                    }
                    continue;
                }
                Step::Record { kind, request_id: 0, .. } => {
                    if !self.send(&management::unknown_type(kind)) {
                        return (Arrival::Closed, 0);
                    }
                    continue;
                }
                Step::Record { .. } => continue,
                Step::Piece { kind: Kind::Params, request_id, data } if request_id == self.request_id => {
                    match params.get_mut(gathered..gathered + data.len()) {
                        Some(room) => {
                            room.copy_from_slice(data);
                            gathered += data.len();
                        }
                        None => too_large = true,
                    }
                    continue;
                }
                Step::StreamEnd { kind: Kind::Params, request_id }
                    if request_id == self.request_id && request_id != 0 =>
                {
                    LAST_RESORT_ID.store(u32::from(request_id), Relaxed);
                    UNSENT.store(true, Relaxed);
                    LAST_RESORT_FD.store(self.fd, Relaxed);
                    return (if too_large { Arrival::TooLarge } else { Arrival::Request }, gathered);
                }
                // Pieces of a request that is over, or was refused.
                Step::Piece { .. } | Step::StreamEnd { .. } => continue,
                Step::NeedMore => {}
            }
            let between = self.request_id == 0;
            let leaving = between && around.leaving();
            if leaving && !self.said_goodbye && (self.knows_goaway || self.served) {
                if !self.knows_goaway || !self.send(&GOAWAY) {
                    return (Arrival::Closed, 0);
                }
                self.said_goodbye = true;
            }
            match self.fill() {
                Fill::Some => (waited, goodbye_ticks) = (Duration::ZERO, 0),
                Fill::Gone => return (Arrival::Closed, 0),
                Fill::Interrupted => {}
                Fill::Tick if between => {
                    around.look();
                    goodbye_ticks += u32::from(leaving);
                    if goodbye_ticks >= GOODBYE_TICKS || !self.patient {
                        return (Arrival::Closed, 0);
                    }
                }
                Fill::Tick => {
                    waited += TICK;
                    if waited >= self.io_timeout {
                        return (Arrival::Closed, 0);
                    }
                }
            }
        }
    }

    fn reset_request(&mut self) {
        (self.body_start, self.body_end, self.body_over) = (0, 0, false);
        self.gathered = 0;
        self.aborted = false;
        self.response_over = false;
    }

    /// Copies body bytes to `buffer`. 0 at the body's end, or when nothing more will come.
    pub(crate) fn read_body(&mut self, buffer: &mut [u8], around: &impl Surroundings) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            if self.body_start < self.body_end {
                let len = (self.body_end - self.body_start).min(buffer.len() - done);
                buffer[done..done + len].copy_from_slice(&self.inbox[self.body_start..self.body_start + len]);
                self.body_start += len;
                done += len;
            } else if !self.next_body_piece(around) {
                break;
            }
        }
        done
    }

    /// Waits until body bytes are in the inbox; false at the end.
    fn next_body_piece(&mut self, around: &impl Surroundings) -> bool {
        let mut waited = Duration::ZERO;
        while !self.body_over && !self.broken && !self.aborted {
            let base = self.inbox.as_ptr() as usize;
            match self.framer.step(&self.inbox[self.start..self.end]) {
                Err(_) => self.broken = true,
                Ok((taken, step)) => {
                    self.start += taken;
                    match step {
                        Step::Piece { kind: Kind::Stdin, request_id, data }
                            if request_id == self.request_id =>
                        {
                            self.body_start = data.as_ptr() as usize - base;
                            self.body_end = self.body_start + data.len();
                            return true;
                        }
                        Step::StreamEnd { kind: Kind::Stdin, request_id }
                            if request_id == self.request_id =>
                        {
                            self.body_over = true;
                        }
                        Step::Record { kind: Kind::AbortRequest, request_id, .. } => {
                            self.aborted = request_id == self.request_id;
                        }
                        Step::NeedMore => match self.fill() {
                            Fill::Some => waited = Duration::ZERO,
                            Fill::Gone => self.broken = true,
                            Fill::Interrupted if around.timed_out() => return false,
                            Fill::Interrupted => {}
                            Fill::Tick => {
                                waited += TICK;
                                self.broken = waited >= self.io_timeout;
                            }
                        },
                        _ => {}
                    }
                }
            }
        }
        false
    }

    /// Reads what has come. Called when all body bytes in the inbox have been given out.
    fn fill(&mut self) -> Fill {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.inbox.len() {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match recv(self.fd, &mut self.inbox[self.end..], MsgFlags::empty()) {
            Ok(0) => Fill::Gone,
            Ok(len) => {
                self.end += len;
                Fill::Some
            }
            Err(Errno::EINTR) => Fill::Interrupted,
            Err(Errno::EAGAIN) => Fill::Tick,
            Err(_) => Fill::Gone,
        }
    }

    // --- writing ------------------------------------------------------------------------------------------------

    /// Takes response bytes. False when the peer is gone, has lost interest, or the time limit has passed.
    pub(crate) fn write(&mut self, bytes: &[u8], around: &impl Surroundings) -> bool {
        if self.response_over {
            return true;
        }
        if self.broken || self.aborted {
            return false;
        }
        if bytes.len() <= RECORD_MAX - self.gathered {
            let at = HEADER_LEN + self.gathered;
            self.outbox[at..at + bytes.len()].copy_from_slice(bytes);
            self.gathered += bytes.len();
            return true;
        }
        self.notice_abort();
        !self.aborted && self.write_through(bytes, around)
    }

    /// Sends what is gathered and `bytes` after it; the last piece stays gathered, to leave with what follows.
    fn write_through(&mut self, mut bytes: &[u8], around: &impl Surroundings) -> bool {
        while bytes.len() > RECORD_MAX / 2 {
            let mut headers = [[0; HEADER_LEN]; RECORDS_AT_ONCE];
            let mut taken = 0;
            let first = self.seal(Kind::Stdout);
            let mut slices = [IoSlice::new(&[]); RECORDS_AT_ONCE * 2 + 1];
            slices[0] = IoSlice::new(&self.outbox[..first]);
            let mut used = 1;
            for (header, chunk) in headers.iter_mut().zip(bytes.chunks(RECORD_MAX)) {
                #[expect(clippy::cast_possible_truncation, reason = "a chunk is at most RECORD_MAX long")]
                let len = chunk.len() as u16;
                *header = Header::new(Kind::Stdout, self.request_id, len).to_bytes();
                slices[used] = IoSlice::new(header);
                slices[used + 1] = IoSlice::new(chunk);
                used += 2;
                taken += chunk.len();
            }
            UNSENT.store(false, Relaxed);
            let sent = send_all(self.fd, &mut slices[..used], self.io_timeout, around);
            self.gathered = 0;
            if !sent {
                self.broken = true;
                return false;
            }
            bytes = &bytes[taken..];
        }
        self.gather(bytes, around)
    }

    fn gather(&mut self, bytes: &[u8], around: &impl Surroundings) -> bool {
        if bytes.len() > RECORD_MAX - self.gathered && !self.send_gathered(around) {
            return false;
        }
        let at = HEADER_LEN + self.gathered;
        self.outbox[at..at + bytes.len()].copy_from_slice(bytes);
        self.gathered += bytes.len();
        true
    }

    /// Sends what is gathered. False as for [`Self::write`].
    pub(crate) fn flush(&mut self, around: &impl Surroundings) -> bool {
        if self.response_over {
            return true;
        }
        self.notice_abort();
        !self.aborted && !self.broken && self.send_gathered(around)
    }

    fn send_gathered(&mut self, around: &impl Surroundings) -> bool {
        let len = self.seal(Kind::Stdout);
        self.gathered = 0;
        if len == 0 {
            return !self.broken;
        }
        UNSENT.store(false, Relaxed);
        let sent = send_all(self.fd, &mut [IoSlice::new(&self.outbox[..len])], self.io_timeout, around);
        self.broken |= !sent;
        sent
    }

    /// Writes the header before what is gathered. Returns the length of the record, 0 when nothing is gathered.
    fn seal(&mut self, kind: Kind) -> usize {
        if self.gathered == 0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most RECORD_MAX is gathered")]
        let header = Header::new(kind, self.request_id, self.gathered as u16);
        self.outbox[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        HEADER_LEN + self.gathered
    }

    /// Whether a peer that has stopped listening says so. Asked before a send in mid-response only; where the body has
    /// not come whole, what lies there is the body.
    fn notice_abort(&mut self) {
        if !self.body_over || self.start != self.end {
            return;
        }
        let mut header = [0; HEADER_LEN];
        match recv(self.fd, &mut header, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(0) => self.broken = true,
            Ok(len) => self.aborted |= len >= 2 && header[1] == Kind::AbortRequest.byte(),
            Err(_) => {}
        }
    }

    /// Ends the response while the script goes on. A peer of ours learns it from the end of the stream STDOUT and gets
    /// END_REQUEST when the worker is free again; any other gets END_REQUEST now, and the connection is closed, since
    /// it would send its next request to a busy worker. False when it was over already.
    pub(crate) fn finish(&mut self, around: &impl Surroundings) -> bool {
        if self.response_over {
            return false;
        }
        if self.knows_goaway {
            let len = self.seal(Kind::Stdout);
            let end = Header::new(Kind::Stdout, self.request_id, 0).to_bytes();
            self.outbox[len..len + HEADER_LEN].copy_from_slice(&end);
            self.gathered = 0;
            UNSENT.store(false, Relaxed);
            let bytes = &self.outbox[..len + HEADER_LEN];
            self.broken |= !send_all(self.fd, &mut [IoSlice::new(bytes)], self.io_timeout, around);
        } else {
            self.keep = false;
            self.send_end(false, around);
            self.close();
        }
        self.response_over = true;
        true
    }

    /// Ends the request, with `goodbye` the connection. False when the connection is of no further use.
    pub(crate) fn end_request(&mut self, goodbye: bool) -> bool {
        if self.fd < 0 {
            self.request_id = 0;
            return false;
        }
        let usable = !self.broken && self.send_end(goodbye && self.keep, &Nobody) && self.keep;
        self.request_id = 0;
        self.served = true;
        self.response_over = true;
        LAST_RESORT_FD.store(-1, Relaxed);
        // What is left of a body that nobody read is passed over by `next`, as pieces of a request that is over.
        usable && (self.knows_goaway || !goodbye)
    }

    fn send_end(&mut self, goodbye: bool, around: &impl Surroundings) -> bool {
        let mut len = self.seal(Kind::Stdout);
        self.gathered = 0;
        self.outbox[len..len + 16].copy_from_slice(&EndRequest::COMPLETE.to_record(self.request_id));
        len += 16;
        if goodbye && self.knows_goaway {
            self.outbox[len..len + 16].copy_from_slice(&GOAWAY);
            self.said_goodbye = true;
            len += 16;
        }
        UNSENT.store(false, Relaxed);
        send_all(self.fd, &mut [IoSlice::new(&self.outbox[..len])], self.io_timeout, around)
    }

    fn send(&self, bytes: &[u8]) -> bool {
        send_all(self.fd, &mut [IoSlice::new(bytes)], self.io_timeout, &Nobody)
    }

    /// Whether the response may begin with an informational head: only a peer of ours reads it as one.
    pub(crate) fn takes_informational(&self) -> bool {
        self.knows_goaway && !self.response_over
    }
}

enum Begin {
    Accept { keep: bool },
    Refuse([u8; 16]),
    Broken,
}

fn begin(in_hand: u16, request_id: u16, body: &[u8]) -> Begin {
    let refuse =
        |protocol_status| Begin::Refuse(EndRequest { app_status: 0, protocol_status }.to_record(request_id));
    match BeginRequest::parse(body) {
        Err(_) => Begin::Broken,
        Ok(_) if request_id == 0 => Begin::Broken,
        Ok(_) if in_hand != 0 && in_hand != request_id => refuse(ProtocolStatus::CannotMultiplex),
        Ok(begin) if begin.role != Role::Responder => refuse(ProtocolStatus::UnknownRole),
        Ok(begin) => Begin::Accept { keep: begin.keep_connection },
    }
}

fn asks_for_goaway(body: &[u8]) -> bool {
    regie_fastcgi::params::pairs(body)
        .map_while(Result::ok)
        .any(|(name, _)| name == management::KNOWS_GOAWAY.as_bytes())
}

/// For sends outside a request, which no time limit interrupts.
struct Nobody;

impl Surroundings for Nobody {
    fn leaving(&self) -> bool {
        false
    }
    fn look(&self) {}
    fn timed_out(&self) -> bool {
        false
    }
    fn workers(&self) -> usize {
        0
    }
}

fn send_all(fd: RawFd, mut slices: &mut [IoSlice<'_>], limit: Duration, around: &impl Surroundings) -> bool {
    let mut waited = Duration::ZERO;
    while slices.iter().any(|slice| !slice.is_empty()) {
        if GAVE_UP.load(Relaxed) {
            return false;
        }
        match sendmsg::<()>(fd, slices, &[], MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => {
                waited = Duration::ZERO;
                IoSlice::advance_slices(&mut slices, sent);
            }
            Err(Errno::EINTR) if !around.timed_out() => {}
            Err(Errno::EAGAIN) if waited < limit => waited += TICK,
            Err(_) => return false,
        }
    }
    true
}

/// Answers 504 in place of a PHP that does not come back, if nothing was sent. Called in a signal handler: no
/// allocation, no lock.
pub(crate) fn answer_in_last_resort() {
    const BODY: &[u8] = b"Status: 504 Gateway Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe request took too long.\n";
    let fd = LAST_RESORT_FD.load(Relaxed);
    if fd < 0 || GAVE_UP.swap(true, Relaxed) || !UNSENT.swap(false, Relaxed) {
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was stored from 16 bits; the text is short")]
    let (id, len) = (LAST_RESORT_ID.load(Relaxed) as u16, BODY.len() as u16);
    let mut bytes = [0; HEADER_LEN + BODY.len() + 16];
    bytes[..HEADER_LEN].copy_from_slice(&Header::new(Kind::Stdout, id, len).to_bytes());
    bytes[HEADER_LEN..HEADER_LEN + BODY.len()].copy_from_slice(BODY);
    bytes[HEADER_LEN + BODY.len()..].copy_from_slice(&EndRequest::COMPLETE.to_record(id));
    let _ = nix::sys::socket::send(fd, &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    // The peer need not wait for the kill.
    let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Both);
}
