//! A worker: takes connections one at a time, and gives their requests to PHP.
//!
//! ```text
//!   accept ─▶ read the head ─▶ ours? (ping, status, 404, 403, 431) answer
//!      ▲            ▲                │ no
//!      │            │                ▼
//!      │            └──────────── PHP runs it (called by C: next_request … done)
//!      └── connection closed
//! ```
//!
//! The worker leaves when it is told to (its slot says so), when its master is gone, when it has served `max_requests`,
//! or when it has grown too large; always between requests, and never with a request lost in its connection.

use std::fmt::Write as _;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use regie_lane::Lane;
use regie_php_sys::{
    Outcome, Request, Text, regie_php_opcache, regie_php_sequence, regie_php_timed_out, regie_rewind_keep,
};

use super::area::Area;
use super::clock;
use super::connection::{Arrival, Connection, INBOX, OUTBOX, Surroundings};
use super::lane::{Arrived, LaneDesk};
use super::listen::{self, TICK};
use super::log::Line;
use super::pool::Pool;
use super::request::{DoesNotFit, MESSAGE_ID, PARAMS_MAX, STORE_SIZE, Store};
use super::{nudge, report};
use crate::options::Mode;
use crate::scoreboard::{Slot, State};
use crate::script::{self, Believed, Refused};
use crate::status::Form;

/// See the module. Lies in an area of our own, and holds nothing of the heap but what the master made before the fork.
#[derive(Debug)]
pub(crate) struct Worker {
    pool: &'static Pool,
    slot: &'static Slot,
    connection: Connection,
    lane: Option<LaneDesk>,
    raw: &'static mut [u8],
    store: Store,
    believed: Believed,
    /// Requests after which to leave.
    requests_max: u64,
    /// The process shall make room for a new one.
    spent: bool,
    status: i32,
    cpu_us: u64,
    log_epoch: u32,
}

static WORKER: AtomicPtr<Worker> = AtomicPtr::new(std::ptr::null_mut());

/// The worker of this process. Callbacks come one at a time, from the process's only thread.
///
/// # Safety
/// [`install`] has been called, and no other reference to the worker is in use.
pub(crate) unsafe fn current() -> &'static mut Worker {
    // SAFETY: set by `install` to a value that lives as long as the process; see above for the rest.
    unsafe { &mut *WORKER.load(Relaxed) }
}

/// Makes this process a worker, with a seat in the lane if it shall take requests there.
pub(crate) fn install(
    pool: &'static Pool,
    slot: &'static Slot,
    lane: Option<&'static Lane>,
) -> nix::Result<()> {
    let mut area = Area::new(INBOX + OUTBOX + PARAMS_MAX + STORE_SIZE + size_of::<Worker>() + 256)?;
    let connection = Connection::new(area.bytes(INBOX), area.bytes(OUTBOX), pool.options.io_timeout.0);
    let io_timeout = pool.options.io_timeout.0;
    let lane = lane.map(|lane| LaneDesk::sit_down(lane, pool.listener, io_timeout)).transpose()?;
    let worker = Worker {
        pool,
        slot,
        connection,
        lane,
        raw: area.bytes(PARAMS_MAX),
        store: Store::new(&mut area),
        believed: Believed::nothing(),
        requests_max: jittered(pool.options.max_requests, std::process::id()),
        spent: false,
        status: 0,
        cpu_us: 0,
        log_epoch: pool.board.log_epoch.load(Relaxed),
    };
    WORKER.store(area.place(worker), Relaxed);
    Ok(())
}

/// A tenth more or less, so that workers forked together do not leave together.
fn jittered(max_requests: u64, seed: u32) -> u64 {
    let tenth = max_requests / 10;
    match max_requests {
        0 => u64::MAX,
        _ if tenth == 0 => max_requests,
        _ => max_requests - tenth + u64::from(seed.wrapping_mul(2_654_435_761)) % (2 * tenth + 1),
    }
}

/// What the connection may ask while it is lent out.
struct Around<'a> {
    pool: &'a Pool,
    spent: bool,
}

impl Surroundings for Around<'_> {
    fn leaving(&self) -> bool {
        self.spent || nudge::told_to_leave()
    }

    fn look(&self) {
        nudge::look_for_master();
    }

    fn timed_out(&self) -> bool {
        // SAFETY: called in a worker, on its only thread.
        unsafe { regie_php_timed_out() != 0 }
    }

    fn workers(&self) -> usize {
        self.pool.board.wanted.load(Relaxed) as usize
    }
}

/// An answer that needs no PHP.
struct Plain<'a> {
    status: &'a str,
    content_type: &'a str,
    extra: &'a str,
    body: &'a [u8],
}

const TEXT: &str = "text/html; charset=UTF-8";

const APOLOGY: &[u8] = b"<!doctype html><title>The application did not start</title>\n\
<h1>The application did not start</h1>\n\
<p>Its worker script ended before it could take a request. The log says why. It is tried again by itself.</p>\n";

impl Worker {
    /// Whether the process shall end when it has no request.
    pub(crate) fn leaving(&self) -> bool {
        self.around().leaving()
    }

    fn around(&self) -> Around<'static> {
        Around { pool: self.pool, spent: self.spent }
    }

    pub(crate) fn slot(&self) -> &'static Slot {
        self.slot
    }

    pub(crate) fn pool(&self) -> &'static Pool {
        self.pool
    }

    /// Blocks until there is a request for PHP. None: leave.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        loop {
            let Some((arrival, len)) = self.arrive(State::Idle) else {
                // Whoever comes next on the seat need not clean up after this process.
                self.lane = None;
                return None;
            };
            self.begin();
            match self.understand(arrival, len) {
                Ok(Some(request)) => return Some(request),
                Ok(None) => {}
                Err(DoesNotFit) => self.answer(&Plain {
                    status: "431 Request Header Fields Too Large",
                    content_type: TEXT,
                    extra: "",
                    body: b"The request's parameters are too large.\n",
                }),
            }
            self.end(None);
        }
    }

    /// Waits for the head of a request, by the lane or in a connection. None when it is time to leave.
    fn arrive(&mut self, state: State) -> Option<(Arrival, usize)> {
        loop {
            self.slot.set_state(state);
            if !self.connection.is_open() {
                match self.knock_or_request()? {
                    Arrived::Request(len) if len > self.raw.len() => return Some((Arrival::TooLarge, 0)),
                    Arrived::Request(len) => return Some((Arrival::Request, len)),
                    Arrived::Knock | Arrived::Nothing => {}
                }
                continue;
            }
            let around = self.around();
            match self.connection.next(self.raw, &around) {
                (Arrival::Closed, _) => self.connection.close(),
                arrived => return Some(arrived),
            }
        }
    }

    /// Waits until there is a request in the lane or a connection has been opened. None when it is time to leave.
    fn knock_or_request(&mut self) -> Option<Arrived> {
        let Some(lane) = &mut self.lane else { return self.accept().then_some(Arrived::Knock) };
        if self.spent || nudge::told_to_leave() {
            return None;
        }
        let arrived = lane.wait(self.raw);
        if arrived == Arrived::Nothing {
            nudge::look_for_master();
        }
        if arrived == Arrived::Knock
            && let Ok(fd) = accept4(self.pool.listener, SockFlag::SOCK_CLOEXEC)
        {
            prepare(fd, self.pool.is_tcp, TICK);
            self.connection.open(fd, true);
        }
        Some(arrived)
    }

    /// Waits for a connection; false when it is time to leave.
    fn accept(&mut self) -> bool {
        loop {
            if self.around().leaving() {
                return false;
            }
            match accept4(self.pool.listener, SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => {
                    prepare(fd, self.pool.is_tcp, TICK);
                    self.connection.open(fd, true);
                    return true;
                }
                // A nudge, a tick, a peer that was gone again, or no descriptor left: look around, wait again.
                Err(Errno::EINTR | Errno::ECONNABORTED) => nudge::look_for_master(),
                Err(Errno::EAGAIN) => {
                    nudge::look_for_master();
                    if !nudge::told_to_leave() {
                        listen::wait(self.pool.listener);
                    }
                }
                Err(_) => return false,
            }
        }
    }

    fn begin(&mut self) {
        let sequence = self.slot.sequence.load(Relaxed).wrapping_add(1).max(1);
        self.slot.sequence.store(sequence, Relaxed);
        // SAFETY: called in a worker, on its only thread.
        unsafe { regie_php_sequence(sequence & 0x3fff_ffff) };
        self.slot.began_us.store(clock::monotonic_us(), Relaxed);
        self.slot.set_state(State::Reading);
        let board = self.pool.board;
        board.accepted.fetch_add(1, Relaxed);
        if self.pool.is_watched {
            self.cpu_us = clock::cpu_us();
            let busy = self.pool.slots.iter().filter(|slot| slot.state().is_busy()).count();
            board.max_active.fetch_max(busy as u64, Relaxed);
            board.all_busy.fetch_add(u64::from(busy == self.pool.workers), Relaxed);
        }
        let epoch = board.log_epoch.load(Relaxed);
        if epoch != self.log_epoch {
            self.log_epoch = epoch;
            super::log::reopen(self.pool.options.log.as_deref());
        }
    }

    /// What the request wants. None: it has been answered.
    fn understand(&mut self, arrival: Arrival, len: usize) -> Result<Option<Request>, DoesNotFit> {
        if arrival == Arrival::TooLarge {
            return Err(DoesNotFit);
        }
        self.store.fill(&self.raw[..len])?;
        if self.answer_ourselves() {
            return Ok(None);
        }
        let script = match self.pool.options.mode {
            Mode::Worker => self.pool.worker_script,
            Mode::Rewind => {
                self.set_php_self()?;
                self.pool.worker_script
            }
            // Rewind mode where the kernel cannot do it.
            Mode::Classic if !self.pool.worker_script.ptr.is_null() => {
                self.set_php_self()?;
                self.pool.worker_script
            }
            Mode::Classic => match self.find_script()? {
                Some(script) => script,
                None => return Ok(None),
            },
        };
        let request = self.store.request(script);
        self.note(&request);
        Ok(Some(request))
    }

    fn note(&self, request: &Request) {
        let slot = self.slot;
        let (method, uri) = if request.message == 1 {
            (&b"message"[..], self.store.get(MESSAGE_ID))
        } else {
            (self.store.get(b"REQUEST_METHOD").unwrap_or_default(), self.store.get(b"REQUEST_URI"))
        };
        slot.method.set(method);
        slot.uri.set(uri.unwrap_or_default());
        slot.user.set(self.store.get(b"REMOTE_USER").unwrap_or_default());
        // SAFETY: the script is a text of the store or of the pool.
        slot.script.set(unsafe { super::request::foreign(request.script.ptr, request.script.len) });
        slot.content_length.store(request.content_length, Relaxed);
        slot.set_state(State::Running);
        self.watch_limit();
    }

    /// Says when the time of the request in hand is up. The master sleeps until the earliest limit that it knows, so
    /// one that passes before that is told to it; the two fences (see `Master::wait`) make sure that it is either
    /// seen there or told here.
    fn watch_limit(&self) {
        let limit_us = match self.store.own_limit_us() {
            Some(own_us) if self.store.is_message() => own_us,
            _ => self.pool.request_us,
        };
        // A message may take its time.
        let slow_us = if self.store.is_message() { 0 } else { self.pool.slow_us };
        if limit_us == 0 && slow_us == 0 {
            return;
        }
        let began_us = self.slot.began_us.load(Relaxed);
        let after = |span_us: u64| if span_us == 0 { 0 } else { began_us.saturating_add(span_us) };
        self.slot.due_us.store(after(limit_us), Relaxed);
        self.slot.slow_us.store(after(slow_us), Relaxed);
        fence(SeqCst);
        if self.slot.looked_at_us() < self.pool.board.looks_us.load(Relaxed) {
            self.pool.tell_master();
        }
    }

    /// The file to run, with the path put right behind it. None: answered with 403 or 404.
    fn find_script(&mut self) -> Result<Option<Text>, DoesNotFit> {
        let given = self.store.get(b"SCRIPT_FILENAME").unwrap_or_default();
        let now_us = self.slot.began_us.load(Relaxed);
        let of_our_gateway = self.lane.as_ref().is_some_and(LaneDesk::is_busy);
        let believed = &mut self.believed;
        let is_there = |path: &[u8]| {
            if of_our_gateway { believed.is_file(path, now_us, is_file) } else { is_file(path) }
        };
        let (file_len, start, info_len) =
            match script::resolve(given, &self.pool.options.limit_extensions, is_there) {
                Ok(found) => {
                    let start = found.file.as_ptr() as usize - given.as_ptr() as usize;
                    (found.file.len(), start, found.path_info.len())
                }
                Err(refused) => {
                    self.refuse(refused);
                    return Ok(None);
                }
            };
        let script = self.store.set_script(start, file_len, info_len)?;
        self.set_php_self()?;
        Ok(Some(script))
    }

    /// `SCRIPT_NAME` and `PATH_INFO` joined, unless the gateway has said it.
    fn set_php_self(&mut self) -> Result<(), DoesNotFit> {
        if self.store.get(b"PHP_SELF").is_some() {
            return Ok(());
        }
        let mut joined = Line::<4096>::default();
        for name in [&b"SCRIPT_NAME"[..], b"PATH_INFO"] {
            joined.push(self.store.get(name).unwrap_or_default());
        }
        self.store.set(b"PHP_SELF", joined.bytes())
    }

    fn refuse(&mut self, refused: Refused) {
        let mut line = Line::<768>::default();
        let (status, body, why): (_, &[u8], _) = match refused {
            Refused::NotFound => ("404 Not Found", b"File not found.\n", "Primary script unknown"),
            Refused::Extension => {
                ("403 Forbidden", b"Access denied.\n", "its ending is not in --limit-extensions")
            }
        };
        let _ = write!(line, "access to the script was refused: {why}: ");
        line.push(self.store.get(b"SCRIPT_FILENAME").unwrap_or_default());
        super::log::worker(super::log::Level::Notice, line.bytes());
        self.answer(&Plain { status, content_type: TEXT, extra: "", body });
    }

    /// Ping and status.
    fn answer_ourselves(&mut self) -> bool {
        let options = &self.pool.options;
        if options.ping_path.is_none() && options.status_path.is_none() {
            return false;
        }
        let text =
            |name: &[u8]| std::str::from_utf8(self.store.get(name).unwrap_or_default()).unwrap_or_default();
        let page = report::page(self.pool, text(b"SCRIPT_NAME"), text(b"QUERY_STRING"));
        let Some((content_type, body)) = page else { return false };
        self.answer(&Plain { status: "200 OK", content_type, extra: "", body: body.as_bytes() });
        true
    }

    /// In the status process. `REGIE_INSPECT` is `pool` for the status page as JSON, which needs no `--status-path`, and
    /// `workers` for the same with each worker; `opcache` for what opcache holds, or `scripts` for every script as well.
    /// `renew` with `REGIE_SEAT` has a new worker take the place of that one, where the listener is the supervisor's.
    fn answer_inspection(&mut self) -> bool {
        let Some(what) = self.store.get(b"REGIE_INSPECT") else { return false };
        if what == b"pool" || what == b"workers" {
            let page = report::snapshot(self.pool).render(Form::Json, what == b"workers");
            let content_type = Form::Json.content_type();
            self.answer(&Plain { status: "200 OK", content_type, extra: "", body: page.as_bytes() });
            return true;
        }
        if what == b"renew" {
            let seat = self.store.get(b"REGIE_SEAT").and_then(|seat| std::str::from_utf8(seat).ok());
            let is_ours = self.pool.options.status_fd.is_some();
            let renewed = seat.filter(|_| is_ours).and_then(|seat| report::renew(self.pool, seat));
            let mut body = Line::<64>::default();
            let _ = match renewed {
                Some(pid) => write!(body, "{{\"pid\":{pid}}}"),
                None => write!(body, "there is no such worker"),
            };
            let status = if renewed.is_some() { "200 OK" } else { "404 Not Found" };
            self.answer(&Plain { status, content_type: "application/json", extra: "", body: body.bytes() });
            return true;
        }
        let with_scripts = i32::from(what == b"scripts");
        // SAFETY: this is the status process, and the text is used before the next call.
        let json = unsafe {
            let text = regie_php_opcache(with_scripts);
            (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
        };
        let (status, body) = match json {
            Some(json) => ("200 OK", json.to_bytes()),
            None => ("500 Internal Server Error", &b"the state of opcache could not be read\n"[..]),
        };
        self.answer(&Plain { status, content_type: "application/json", extra: "", body });
        true
    }

    /// Answers one connection of the status listener.
    pub(crate) fn serve_status(&mut self, fd: RawFd) {
        self.connection.open(fd, false);
        while let Some(len) = self.next_head() {
            let filled = self.store.fill(&self.raw[..len]).is_ok();
            if !filled || !(self.answer_inspection() || self.answer_ourselves()) {
                self.answer(&Plain {
                    status: "404 Not Found",
                    content_type: TEXT,
                    extra: "",
                    body: b"File not found.\n",
                });
            }
            if !self.connection.end_request(false) {
                break;
            }
        }
        self.connection.close();
    }

    /// The application did not boot and no other worker can answer: says so to all who ask, for a while.
    pub(crate) fn apologize(&mut self) {
        while self.arrive(State::Failed).is_some() {
            self.answer(&Plain {
                status: "503 Service Unavailable",
                content_type: TEXT,
                extra: "Retry-After: 2\r\n",
                body: APOLOGY,
            });
            let goodbye = self.leaving();
            self.end_response(goodbye);
        }
    }

    fn next_head(&mut self) -> Option<usize> {
        let around = self.around();
        match self.connection.next(self.raw, &around) {
            (Arrival::Closed, _) => None,
            (_, len) => Some(len),
        }
    }

    fn answer(&mut self, plain: &Plain<'_>) {
        let mut head = Line::<512>::default();
        let _ = write!(
            head,
            "Status: {}\r\nContent-Type: {}\r\n{}Cache-Control: no-store\r\n\r\n",
            plain.status, plain.content_type, plain.extra
        );
        let _ = self.write(head.bytes()) && self.write(plain.body);
    }

    // --- called while PHP runs ----------------------------------------------------------------------------------

    pub(crate) fn read_body(&mut self, buffer: &mut [u8]) -> usize {
        let around = self.around();
        match &mut self.lane {
            Some(lane) if lane.is_busy() => lane.read_body(buffer, &around),
            _ => self.connection.read_body(buffer, &around),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let around = self.around();
        match &mut self.lane {
            Some(lane) if lane.is_busy() => lane.write(bytes, &around),
            _ => self.connection.write(bytes, &around),
        }
    }

    pub(crate) fn head_begin(&mut self, status: i32, reason: &[u8]) {
        self.status = status;
        if status < 200 && !self.takes_informational() {
            return;
        }
        if status == 200 && reason.is_empty() {
            return;
        }
        let mut line = Line::<128>::default();
        let _ = write!(line, "Status: {status}");
        if !reason.is_empty() {
            line.push(b" ");
            line.push(&reason[..reason.len().min(96)]);
        }
        line.push(b"\r\n");
        self.write(line.bytes());
    }

    pub(crate) fn head_line(&mut self, line: &[u8]) {
        if self.status >= 200 || self.takes_informational() {
            self.write(line);
            self.write(b"\r\n");
        }
    }

    pub(crate) fn head_end(&mut self) -> bool {
        if self.status < 200 {
            return self.takes_informational() && self.write(b"\r\n") && self.flush();
        }
        self.write(b"\r\n")
    }

    pub(crate) fn flush(&mut self) -> bool {
        let around = self.around();
        match &mut self.lane {
            Some(lane) if lane.is_busy() => lane.flush(),
            _ => self.connection.flush(&around),
        }
    }

    pub(crate) fn finish(&mut self) -> bool {
        let around = self.around();
        let finished = match &mut self.lane {
            Some(lane) if lane.is_busy() => lane.finish(),
            _ => self.connection.finish(&around),
        };
        if finished {
            self.slot.set_state(State::Finishing);
        }
        finished
    }

    /// The request is over.
    pub(crate) fn end(&mut self, outcome: Option<&Outcome>) {
        if let Some(outcome) = outcome {
            let requests = self.slot.requests.load(Relaxed) + 1;
            self.slot.requests.store(requests, Relaxed);
            self.slot.memory.store(outcome.memory_peak, Relaxed);
            self.pool.board.memory_peak.fetch_max(outcome.memory_peak, Relaxed);
            self.spent |= self.pool.options.max_memory.0 > 0 && resident() > self.pool.options.max_memory.0;
            self.spent |= requests >= self.requests_max
                || outcome.fatal != 0 && self.pool.options.mode != Mode::Classic;
            if self.pool.is_watched {
                self.slot.cpu_us.store(clock::cpu_us().saturating_sub(self.cpu_us), Relaxed);
            }
        }
        self.slot.due_us.store(0, Relaxed);
        self.slot.slow_us.store(0, Relaxed);
        let began_us = self.slot.began_us.swap(0, Relaxed);
        self.slot.took_us.store(clock::monotonic_us().saturating_sub(began_us), Relaxed);
        // SAFETY: called in a worker, on its only thread.
        unsafe { regie_php_sequence(0) };
        let goodbye = self.around().leaving();
        self.end_response(goodbye);
        if self.pool.options.mode == Mode::Rewind {
            // SAFETY: called in a worker, on its only thread.
            unsafe { regie_rewind_keep(self.connection.fd()) };
        }
        self.slot.set_state(State::Idle);
    }

    /// Rewind mode: the process makes room for a new one.
    pub(crate) fn cannot_be_put_back(&mut self, why: &[u8]) {
        self.spent = true;
        let board = self.pool.board;
        board.replaced.fetch_add(1, Relaxed);
        board.replaced_why.set(why);
        let mut line = Line::<512>::default();
        line.push(b"it cannot be put back to its snapshot and is replaced: ");
        line.push(why);
        line.push(b" (");
        line.push(self.store.get(b"REQUEST_URI").unwrap_or_default());
        line.push(b")");
        super::log::worker(super::log::Level::Notice, line.bytes());
    }

    fn end_response(&mut self, goodbye: bool) {
        match &mut self.lane {
            Some(lane) if lane.is_busy() => self.spent |= !lane.end_request(),
            _ => {
                if !self.connection.end_request(goodbye) {
                    self.connection.close();
                }
            }
        }
    }

    fn takes_informational(&self) -> bool {
        match &self.lane {
            Some(lane) if lane.is_busy() => lane.takes_informational(),
            _ => self.connection.takes_informational(),
        }
    }
}

/// Times out in ticks, so that the waiter looks around; small writes leave at once.
pub(crate) fn prepare(fd: RawFd, is_tcp: bool, tick: Duration) {
    // SAFETY: the descriptor was just accepted and is owned by the caller, which outlives this borrow.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let tick = TimeVal::new(tick.as_secs().cast_signed(), 0);
    let _ = setsockopt(&borrowed, sockopt::ReceiveTimeout, &tick);
    let _ = setsockopt(&borrowed, sockopt::SendTimeout, &tick);
    if is_tcp {
        let _ = setsockopt(&borrowed, sockopt::TcpNoDelay, &true);
    }
}

/// Resident memory of this process.
fn resident() -> u64 {
    let mut text = [0; 128];
    let Ok(file) = std::fs::File::open("/proc/self/statm") else { return 0 };
    let len = std::io::Read::read(&mut &file, &mut text).unwrap_or(0);
    let pages =
        std::str::from_utf8(&text[..len]).ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Whether there is a regular file; without allocation.
fn is_file(path: &[u8]) -> bool {
    nix::sys::stat::stat(path).is_ok_and(|stat| stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG)
}
