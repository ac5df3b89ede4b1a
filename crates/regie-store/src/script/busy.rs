//! A script that takes long: who is served meanwhile, and how it is ended.

use crate::engine::Engine;
use crate::failure::{Failure, Outcome};
use crate::session::OwnedArguments;
use std::fmt;

/// Who serves the other clients while a script runs longer than `busy-reply-threshold`.
pub trait Meanwhile {
    /// Called now and then from within a script that takes long. Takes what clients have sent to [`Engine::execute`],
    /// which refuses nearly all of it with BUSY, and sends the answers. True: the server is to stop, and the script with
    /// it.
    fn serve(&mut self, engine: &mut Engine) -> bool;
}

/// Serves nobody: where there are no other clients, or no script can run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Meanwhile for Nobody {
    fn serve(&mut self, _: &mut Engine) -> bool {
        false
    }
}

impl fmt::Debug for dyn Meanwhile + '_ {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meanwhile")
    }
}

/// The script that runs, for those who ask from outside.
#[derive(Debug)]
pub(crate) struct Running {
    /// FCALL, not EVAL.
    pub(crate) is_function: bool,
    /// When it began, by the stopwatch.
    pub(crate) started: u64,
    /// A command that writes has been called: it is not killed any more.
    pub(crate) wrote: bool,
    /// KILL was said.
    pub(crate) is_killed: bool,
    /// It has been running for too long: its name and its command.
    pub(crate) slow: Option<(Vec<u8>, OwnedArguments)>,
}

impl Running {
    pub(crate) fn new(is_function: bool, started: u64) -> Self {
        Self { is_function, started, wrote: false, is_killed: false, slow: None }
    }

    /// The refusal of everything else while it runs too long.
    fn refusal(&self) -> Failure {
        if self.is_function {
            "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.".into()
        } else {
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.".into()
        }
    }
}

/// An error while a script runs too long.
pub(crate) fn busy(engine: &Engine) -> Outcome {
    match &engine.scripts.running {
        Some(running) if running.slow.is_some() => Err(running.refusal()),
        _ => Ok(()),
    }
}

/// SCRIPT KILL and FUNCTION KILL.
pub(crate) fn kill(engine: &mut Engine, function: bool) -> Outcome {
    let Some(running) = &mut engine.scripts.running else {
        return Err("NOTBUSY No scripts in execution right now.".into());
    };
    if running.wrote {
        return Err("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.".into());
    }
    if running.is_function != function {
        return Err(running.refusal());
    }
    running.is_killed = true;
    Ok(())
}
