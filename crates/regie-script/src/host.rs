//! What a script can reach of the world around it.

use regie_resp::Encoder;

/// Where the commands of a script are to be written, as `redis.set_repl` left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicate {
    /// Into the append-only file.
    pub append_only_file: bool,
    /// To replicas.
    pub replicas: bool,
}

/// How important a line of `redis.log` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `redis.LOG_DEBUG`
    Debug,
    /// `redis.LOG_VERBOSE`
    Verbose,
    /// `redis.LOG_NOTICE`
    Notice,
    /// `redis.LOG_WARNING`
    Warning,
}

/// Whether a script goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// It does.
    Continue,
    /// It ends with an error that no `pcall` of its own can hold. For a library that is being loaded: it took too long.
    Stop,
}

/// Who runs the commands of scripts.
///
/// A call never comes back into the engine: scripts do not run scripts.
pub trait Host {
    /// Runs a command of `redis.call` or `redis.pcall` and writes exactly one reply in `reply.version`, which is what
    /// the script chose with `redis.setresp`. A command that is not run is answered with an error line; these are
    /// Redis's words for it: `ERR Unknown Redis command called from script`, `ERR Wrong number of args calling Redis
    /// command from script`, `ERR This Redis command is not allowed from script`, `ERR Write commands are not allowed
    /// from read-only scripts.`, `ERR The user executing the script can't run this command or subcommand`.
    ///
    /// `args` holds the name first, never empty. An error reply has been counted in the statistics when this returns.
    fn call(&mut self, args: &[&[u8]], replicate: Replicate, reply: &mut Encoder);

    /// Asked by `redis.acl_check_cmd`: may the user who runs the script run this command? `None`: there is no such
    /// command.
    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool>;

    /// Below this, `redis.log` says nothing.
    fn log_level(&self) -> LogLevel {
        LogLevel::Notice
    }

    /// A line of `redis.log`.
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// Asked each 100,000 instructions. Here the host looks at its clock, serves others when the script has become
    /// slow (`busy-reply-threshold`), and ends it when SCRIPT KILL came and the script has written nothing.
    fn tick(&mut self) -> Tick;

    /// An error (without its `-`) in a result that a script returned, for the error statistics. Errors that came from
    /// a command are not told: they were counted there.
    fn count_error(&mut self, line: &[u8]);
}
