//! Scripts: EVAL and FCALL, run by [`regie_script`] on the engine's own commands.
//!
//! The Lua side is opened when the first script comes, and is taken out of the engine while one runs: a script reaches
//! the engine through a [`regie_script::Host`], never itself. What a script writes goes into the log command by command
//! and lies in one frame of it with everything else of its turn, so after a crash a script has run whole or not at all.
//!
//! **A script that runs too long** (`busy-reply-threshold`) yields as in Redis: every 100,000 of Lua's instructions the
//! loop's sockets are looked at from within the script ([`Meanwhile`]). Other clients are answered with BUSY; SCRIPT
//! KILL or FUNCTION KILL ends it while it has written nothing; SHUTDOWN NOSAVE, and the stop of the server, end it in
//! any case and leave what it wrote out of the log. Another thread for scripts would need a lock around all data, and
//! would let nobody do more: until a script ends, nothing else may change or see its keys.

mod busy;
mod host;
mod run;
mod scripts;

pub use busy::{Meanwhile, Nobody};
pub(crate) use busy::{busy, kill};
pub(crate) use run::{What, effective_flags, load_library, restore_libraries, run, write_error};
pub(crate) use scripts::Scripts;
