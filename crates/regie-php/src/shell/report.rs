//! Reads the scoreboard for the status page, and answers it on a listener of its own (`--status-listen`), in a process
//! that runs no application: it answers also when all workers are busy. That listener understands FastCGI, as php-fpm's, and a
//! plain `GET` of HTTP, for curl and Prometheus.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv};

use super::clock;
use super::pool::Pool;
use super::{listen, setup, worker};
use crate::options::Mode;
use crate::scoreboard::{Slot, State};
use crate::status::{Form, Process, Rewind, Snapshot};

/// How long a peer of the status listener may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pool now.
pub(crate) fn snapshot(pool: &Pool) -> Snapshot {
    let (now_us, wall) = (clock::monotonic_us(), clock::since_epoch().as_secs());
    let since = |us: u64| now_us.saturating_sub(us) / 1_000_000;
    let board = pool.board;
    let start_since = since(pool.started_us);
    Snapshot {
        pool: pool.options.pool.clone(),
        start_time: wall.saturating_sub(start_since),
        start_since,
        accepted: board.accepted.load(Relaxed),
        is_dynamic: pool.is_dynamic,
        listen_queue: pool.waiting() as u64,
        max_listen_queue: board.max_waiting.load(Relaxed),
        listen_queue_len: 0,
        max_active: board.max_active.load(Relaxed),
        max_children_reached: board.all_busy.load(Relaxed),
        // Where nobody asks for slow ones, those that were too slow.
        slow_requests: if pool.slow_us > 0 { &board.slow } else { &board.timed_out }.load(Relaxed),
        memory_peak: board.memory_peak.load(Relaxed),
        mode: setup::mode_name(pool.options.mode),
        classic_because: pool.classic_because.clone(),
        rewind: (pool.options.mode == Mode::Rewind).then(|| rewind(pool)),
        processes: pool
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state() != State::Empty)
            .map(|(seat, slot)| process(seat, slot, now_us, wall))
            .collect(),
    }
}

/// The counts of a slot outlive its processes.
fn rewind(pool: &Pool) -> Rewind {
    let mut sum = Rewind {
        replaced: pool.board.replaced.load(Relaxed),
        replaced_why: pool.board.replaced_why.get(),
        ..Rewind::default()
    };
    for stats in pool.slots.iter().map(Slot::rewind) {
        sum.requests += stats.requests;
        sum.pages += stats.pages;
        sum.micros += stats.micros;
    }
    let youngest = pool.slots.iter().max_by_key(|slot| slot.born_us.load(Relaxed));
    sum.ready_micros = youngest.map_or(0, |slot| slot.rewind().ready_micros);
    sum
}

fn process(seat: usize, slot: &Slot, now_us: u64, wall: u64) -> Process {
    let began_us = slot.began_us.load(Relaxed);
    let took_us = slot.took_us.load(Relaxed);
    let start_since = now_us.saturating_sub(slot.born_us.load(Relaxed)) / 1_000_000;
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let cpu_percent =
        if took_us == 0 { 0.0 } else { slot.cpu_us.load(Relaxed) as f64 * 100.0 / took_us as f64 };
    Process {
        seat,
        pid: slot.pid.load(Relaxed),
        state: slot.state().as_str(),
        busy: slot.state().is_busy(),
        start_time: wall.saturating_sub(start_since),
        start_since,
        requests: slot.requests.load(Relaxed),
        request_us: if began_us > 0 { now_us.saturating_sub(began_us) } else { took_us },
        method: slot.method.get(),
        uri: slot.uri.get(),
        content_length: slot.content_length.load(Relaxed),
        user: slot.user.get(),
        script: slot.script.get(),
        cpu_percent,
        memory: slot.memory.load(Relaxed),
    }
}

/// Asks the master to renew the worker in this seat; the process that is there, if there is one.
pub(crate) fn renew(pool: &Pool, seat: &str) -> Option<i32> {
    let slot = pool.slots.get(seat.parse::<usize>().ok()?)?;
    let pid = slot.pid.load(Relaxed);
    if slot.state() == State::Empty || pid == 0 {
        return None;
    }
    slot.renewal_wanted.store(1, Relaxed);
    pool.tell_master();
    Some(pid)
}

/// Answers on the status listener until told to leave, or one connection only. `slot` is nobody else's.
pub(crate) fn serve(pool: &'static Pool, slot: &'static Slot, listener: i32, once: bool) -> nix::Result<()> {
    worker::install(pool, slot, None)?;
    // SAFETY: just installed, and what the engine is asked here calls back for nothing but the log.
    let worker = unsafe { worker::current() };
    while !worker.leaving() {
        let Ok(fd) = accept4(listener, SockFlag::SOCK_CLOEXEC) else {
            if once {
                return Ok(());
            }
            continue;
        };
        // SAFETY: just accepted.
        let peer = unsafe { OwnedFd::from_raw_fd(fd) };
        worker::prepare(peer.as_raw_fd(), false, PATIENCE);
        let mut first = [0; 4];
        match recv(peer.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK) {
            Ok(4) if &first == b"GET " => drop(answer_http(pool, peer)),
            Ok(1..) => worker.serve_status(listen::keep(peer)),
            _ => {}
        }
        if once {
            return Ok(());
        }
    }
    Ok(())
}

fn answer_http(pool: &Pool, peer: OwnedFd) -> std::io::Result<()> {
    let mut stream = std::os::unix::net::UnixStream::from(peer);
    let mut line = String::new();
    BufReader::new((&stream).take(4096)).read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, kind, body) = match page(pool, path, query) {
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", "not found\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The page at `path`, if it is one of ours.
pub(crate) fn page(pool: &Pool, path: &str, query: &str) -> Option<(&'static str, String)> {
    let is = |wanted: &Option<String>| wanted.as_deref() == Some(path);
    if is(&pool.options.ping_path) {
        return Some(("text/plain", "pong".into()));
    }
    if !is(&pool.options.status_path) {
        return None;
    }
    let (form, full) = Form::from_query(query);
    Some((form.content_type(), snapshot(pool).render(form, full)))
}
