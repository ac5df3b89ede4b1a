//! A pool's lane for tests: made here, handed to the pool as the supervisor hands it, and used through the gateway's own
//! carrier.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use nix::fcntl::{FcntlArg, fcntl};
use regie_lane::{Lane, Shape};
use regie_pool::{Address, Body, Call, Head, Pool, PoolSettings};

use crate::client::{Answer, Ask, Connection};
use crate::pool::{Carrier, Mode};

const NAME: &str = "php.web.lane";

/// The gateway's end of a lane, with a runtime of its own.
pub(crate) struct Client {
    lane: Arc<Lane>,
    runtime: tokio::runtime::Runtime,
    pool: Mutex<Option<Pool>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let lane = Arc::new(Lane::create(Shape::default()).unwrap());
        Self { lane, runtime, pool: Mutex::new(None) }
    }

    pub(crate) fn lane(&self) -> Arc<Lane> {
        self.lane.clone()
    }

    /// Lets `command` start with the lane among its descriptors.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        // Far above where they are to lie, so that none is overwritten before it has moved.
        let high: Vec<OwnedFd> = self
            .lane
            .descriptors()
            .map(|fd| {
                let high = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(200)).unwrap();
                // SAFETY: the kernel has just given us this descriptor.
                unsafe { std::os::fd::FromRawFd::from_raw_fd(high) }
            })
            .collect();
        let names = Lane::names(NAME);
        command
            .env("LISTEN_FDS", high.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .args(["--lane-fd", NAME]);
        let take_places = move || {
            for (place, fd) in (3..).zip(&high) {
                // SAFETY: plain numbers; between fork and exec nothing else uses the low descriptors.
                if unsafe { nix::libc::dup2(fd.as_raw_fd(), place as RawFd) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: only system calls that are allowed between fork and exec.
        unsafe { command.pre_exec(take_places) };
    }

    fn pool(&self, socket: &Path, limit: Option<Duration>) -> Pool {
        let mut pool = self.pool.lock().unwrap();
        pool.get_or_insert_with(|| {
            let _inside = self.runtime.enter();
            let settings = PoolSettings::new(Address::Unix(socket.to_owned()));
            let request_timeout = limit.unwrap_or(settings.request_timeout);
            Pool::start(PoolSettings { lane: Some(self.lane.clone()), request_timeout, ..settings })
        })
        .clone()
    }

    /// The answer as the gateway would pass it on, or the error that it would make a page of.
    pub(crate) fn try_ask(&self, socket: &Path, limit: Option<Duration>, ask: &Ask) -> io::Result<Answer> {
        let pool = self.pool(socket, limit);
        let seen = Arc::new(Mutex::new(Vec::new()));
        self.runtime.block_on(async {
            let mut head = Head::new();
            for (name, value) in &ask.params {
                head.push(name, value);
            }
            let mut call = Call::new(head, Body::Full(ask.body.clone().into()));
            let tells = seen.clone();
            call.informational = Some(Arc::new(move |status: http::StatusCode, headers: http::HeaderMap| {
                let shown: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| format!("{}={}", as_written(name.as_str()), value.to_str().unwrap()))
                    .collect();
                tells.lock().unwrap().push(format!("{} {}", status.as_u16(), shown.join(" ")));
            }));
            let answer = match pool.call(call).await {
                Ok(answer) => answer,
                Err(error @ regie_pool::CallError::Timeout(_)) => {
                    return Ok(Answer { status: error.status().as_u16(), ..Answer::default() });
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            let headers = answer.headers.iter();
            let headers =
                headers.map(|(n, v)| (n.as_str().to_owned(), v.to_str().unwrap().to_owned())).collect();
            let status = answer.status.as_u16();
            let body = answer.body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
            let informational = seen.lock().unwrap().clone();
            Ok(Answer { informational, status, headers, body, goodbye: false })
        })
    }

    /// Reads the first bytes of an answer and goes away.
    pub(crate) fn leave_early(&self, socket: &Path, ask: &Ask) {
        let pool = self.pool(socket, None);
        self.runtime.block_on(async {
            let mut head = Head::new();
            for (name, value) in &ask.params {
                head.push(name, value);
            }
            let answer = pool.call(Call::new(head, Body::Empty)).await.unwrap();
            drop(answer);
        });
    }
}

/// `link` as `Link`.
fn as_written(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

const LANES: [(Mode, Carrier); 3] =
    [(Mode::Classic, Carrier::Lane), (Mode::Worker, Carrier::Lane), (Mode::Rewind, Carrier::Lane)];

#[test]
fn workers_come_and_go_and_no_request_is_lost() {
    for way in LANES {
        let pool = crate::pool::Pool::start_on(way, "hello.php", &["--workers", "3", "--max-requests", "5"]);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for i in 0..100 {
                        if i == 50 && client == 0 {
                            // All workers at once, too.
                            pool.signal(nix::sys::signal::Signal::SIGUSR2);
                        }
                        let name = client * 1000 + i;
                        let answer = pool.ask(&pool.get(&format!("/?i={name}")));
                        assert_eq!(answer.text(), format!("Hello {name}"), "{way:?}");
                    }
                });
            }
        });
    }
}

#[test]
fn what_does_not_fit_and_who_is_no_gateway_come_over_fastcgi_to_the_same_workers() {
    for way in LANES {
        let pool = crate::pool::Pool::start_on(way, "hello.php", &["--workers", "1"]);
        for i in 0..5 {
            let small = pool.get(&format!("/?i={i}"));
            let long = small.clone().with("HTTP_X_LONG", &"x".repeat(100_000));
            for ask in [&small, &long, &small] {
                assert_eq!(pool.ask(ask).text(), format!("Hello {i}"), "{way:?}");
            }
            let mut stranger = Connection::open(&pool.socket());
            assert_eq!(stranger.ask(&small).text(), format!("Hello {i}"), "{way:?}");
        }
    }
}
