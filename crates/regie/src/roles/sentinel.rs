//! `regie role sentinel`: leads the application to another master when the sentinels of `[store] url` name one.
//!
//! ```text
//! the environment says where the others were led
//!  └ listen at each sentinel (+switch-master), and look every few seconds at the latest
//!     └ they name another, and it says itself that it is a master
//!        └ written down; the supervisor reads its configuration again
//!           └ pools begin a new generation, programs are restarted, and so is this role, which then knows
//! ```
//!
//! As long as the supervisor's table still has the old address, the role has too and asks again: no announcement has to
//! arrive for the change to happen.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use regie_config::shell::servers;
use regie_config::store::Sentinels;
use regie_resp::Encoder;

use crate::handed::{Handed, notify};
use crate::output;
use crate::own_workers;
use crate::site::Site;
use crate::store;

/// The variable that says where the others were led: `host:port`, or nothing.
pub(crate) const LED_TO: &str = "REGIE_STORE_MASTER";

/// How often the sentinels are asked when none of them announces anything.
const LOOK_MS: u16 = 3_000;

/// How long the supervisor has to take over what it was told.
const DONE_MS: u16 = 15_000;

/// How often while they name a server that is no master yet.
const AGAIN_MS: u16 = 300;

/// The role.
pub(super) fn run(site: &Site) -> io::Result<()> {
    let lifeline = Handed::take()?.lifeline();
    let sentinels =
        store::sentinels(site).ok_or_else(|| io::Error::other("[store] url names no sentinels"))?;
    let led_to = std::env::var(LED_TO).unwrap_or_default();
    let mut ears: Vec<Ear> =
        sentinels.hosts.iter().map(|host| Ear { host: host.clone(), wire: None }).collect();
    notify("READY=1\n")?;
    let mut said = String::new();
    loop {
        for ear in &mut ears {
            ear.open(&sentinels);
        }
        let (now, mut wait_ms) = look(&sentinels, &led_to);
        match now {
            Now::Same => said.clear(),
            Now::Unclear(why) => {
                if std::mem::replace(&mut said, why.clone()) != why {
                    output::warning(format_args!("{}: {why}", sentinels.master));
                }
            }
            Now::At(host, port) => {
                output::line(format_args!(
                    "{} is now {host}:{port}; the application is led there",
                    sentinels.master
                ));
                if let Err(fault) = store::keep_master(site, &sentinels.master, &host, port) {
                    output::warning(format_args!("where the master is cannot be written down: {fault}"));
                }
                own_workers::apply(&site.run_dir())?;
                // What the supervisor does now ends this process. Asking it again meanwhile would begin it again.
                wait_ms = DONE_MS;
            }
        }
        if !wait(&mut ears, lifeline.as_ref(), wait_ms)? {
            return Ok(());
        }
    }
}

/// What the sentinels say.
enum Now {
    /// What the others were led to.
    Same,
    /// Another, which says itself that it is a master.
    At(String, u16),
    /// Nothing that can be acted on.
    Unclear(String),
}

/// Asks, and says when to ask again.
fn look(sentinels: &Sentinels, led_to: &str) -> (Now, u16) {
    let (host, port) = match servers::master(sentinels) {
        Ok(master) => master,
        Err(why) => return (Now::Unclear(format!("no sentinel says where it is: {why}")), LOOK_MS),
    };
    if format!("{host}:{port}") == led_to {
        return (Now::Same, LOOK_MS);
    }
    match servers::is_master(&sentinels.master_at(host.clone(), port)) {
        Ok(true) => (Now::At(host, port), LOOK_MS),
        Ok(false) => (Now::Unclear(format!("{host}:{port} is named, but is no master yet")), AGAIN_MS),
        Err(fault) => {
            (Now::Unclear(format!("{host}:{port} is named, but does not answer: {fault}")), AGAIN_MS)
        }
    }
}

/// A connection on which a sentinel announces another master. One that cannot be had is tried again at each look.
struct Ear {
    host: (String, u16),
    wire: Option<TcpStream>,
}

impl Ear {
    fn open(&mut self, sentinels: &Sentinels) {
        if self.wire.is_none() {
            self.wire = self.subscribe(sentinels).ok();
        }
    }

    fn subscribe(&self, sentinels: &Sentinels) -> io::Result<TcpStream> {
        let mut wire = servers::connect(&self.host.0, self.host.1)?;
        let mut encoder = Encoder::default();
        let mut command = |words: &[&str]| {
            encoder.array(words.len());
            words.iter().for_each(|word| encoder.bulk(word.as_bytes()));
        };
        match &sentinels.login {
            (Some(user), Some(password)) => command(&["AUTH", user, password.reveal()]),
            (None, Some(password)) => command(&["AUTH", password.reveal()]),
            (_, None) => {}
        }
        command(&["SUBSCRIBE", "+switch-master"]);
        wire.write_all(&encoder.bytes)?;
        wire.set_nonblocking(true)?;
        Ok(wire)
    }

    /// Drops what has come: that something has come is the news.
    fn drain(&mut self) {
        let mut piece = [0; 1024];
        while let Some(wire) = &mut self.wire {
            match wire.read(&mut piece) {
                Ok(0) => self.wire = None,
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.wire = None,
            }
        }
    }
}

/// Waits for an announcement, at most so long; false when the supervisor is gone.
fn wait(ears: &mut [Ear], lifeline: Option<&OwnedFd>, wait_ms: u16) -> io::Result<bool> {
    let mut sources: Vec<PollFd<'_>> =
        lifeline.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).into_iter().collect();
    let wires = ears.iter().filter_map(|ear| ear.wire.as_ref());
    sources.extend(wires.map(|wire| PollFd::new(wire.as_fd(), PollFlags::POLLIN)));
    match poll(&mut sources, PollTimeout::from(wait_ms)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(fault) => return Err(fault.into()),
    }
    let orphaned = lifeline.is_some() && sources[0].any() == Some(true);
    drop(sources);
    ears.iter_mut().for_each(Ear::drain);
    Ok(!orphaned)
}
