//! What can be typed. The names are a promise to users; more may be added.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// One program that runs everything a PHP application needs in production.
#[derive(Debug, Parser)]
#[command(name = "regie", version, disable_help_subcommand = false, propagate_version = false)]
pub(crate) struct Cli {
    /// Folder of the application
    #[arg(
        long,
        short = 'C',
        global = true,
        value_name = "FOLDER",
        default_value = ".",
        hide_default_value = true
    )]
    pub(crate) directory: PathBuf,
    /// Configuration file in place of regie.toml beside the application
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the application of this folder
    Up(Up),
    /// Stop everything, gracefully
    Down,
    /// Apply changed configuration and code without dropping a request
    Reload(Names),
    /// Show every program: state, pid, uptime, restarts, memory, CPU
    Status(Status),
    /// Start programs; a name may be a group ("php:*") or all
    Start(Names),
    /// Stop programs
    Stop(Names),
    /// Restart programs, or single workers of a pool ("workers:default_00")
    Restart(Names),
    /// Change the number of processes of a program or pool
    Scale(Scale),
    /// Show what the programs print, merged
    Logs(Logs),
    /// Run a command with the application's PHP, ini, environment, folder and user
    Run(Run),
    /// Short for: regie run php artisan …
    #[command(disable_help_flag = true)]
    Artisan(Words),
    /// Short for: regie run php bin/console …
    #[command(disable_help_flag = true)]
    Console(Words),
    /// Short for: regie run php …; also info, versions
    #[command(disable_help_flag = true)]
    Php(Words),
    /// Scheduled tasks: what is due when, what became of it, and running one now
    #[command(subcommand)]
    Schedule(Schedule),
    /// Validate configuration and environment, with the fix for each fault
    Check(Check),
    /// Write a regie.toml from what is found
    Init(Init),
    /// Queues: numbers, jobs, failures; pause, retry, clear
    #[command(subcommand)]
    Queue(Queue),
    /// Move in and back: jobs, sessions and cached values between the application's own connections
    #[command(subcommand)]
    Move(Move),
    /// The application's store: ask it, look at its data, copy it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print the version
    Version,
    /// One part alone, as the supervisor starts it
    #[command(subcommand)]
    Role(Role),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// In the background: returns when everything is ready
    #[arg(long, short = 'd')]
    pub(crate) detach: bool,
    /// What `-d` starts: speaks until everything is ready, then closes its output
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Programs, groups ("php:*") or "all"
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

impl Names {
    /// What was named; everything when nothing was.
    pub(crate) fn all(self) -> Vec<String> {
        if self.names.is_empty() { vec!["all".to_owned()] } else { self.names }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Programs, groups ("php:*"), workers of a pool ("workers:default_00") or "all"
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// How many of what, as php:web=8
    #[arg(value_name = "NAME=N", required = true)]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Programs, groups ("php:*"), workers of a pool ("workers:default_00") or "all"
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Go on as lines come
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// How many of the last lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) tail: usize,
    /// Only lines younger than this, as 10m
    #[arg(long, value_name = "SPAN")]
    pub(crate) since: Option<String>,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// With the time of each line
    #[arg(long, short = 't')]
    pub(crate) timestamps: bool,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The pool whose settings apply
    #[arg(long, short = 'p', value_name = "POOL", default_value = "jobs")]
    pub(crate) pool: String,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Every task with its next time and its last run
    List(ScheduleList),
    /// Run a task now, whether it is due or not
    Run(ScheduleRun),
    /// What became of the last runs
    History(ScheduleHistory),
    /// Show when things would run, without running them: an expression's next times, or the coming day
    Test(ScheduleTest),
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleList {
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleRun {
    /// The task, as `regie schedule list` names it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleHistory {
    /// Only this task, with the output of its last run
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How many runs
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) count: usize,
    /// For machines, with the output of each
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleTest {
    /// A cron expression such as "30 2 * * *"
    #[arg(value_name = "EXPRESSION")]
    pub(crate) expression: Option<String>,
    /// The time zone in which it is meant; the machine's otherwise
    #[arg(long, value_name = "ZONE", requires = "expression")]
    pub(crate) timezone: Option<String>,
    /// From this moment on, as "2026-03-28 12:00"; now otherwise
    #[arg(long, value_name = "MOMENT")]
    pub(crate) from: Option<String>,
    /// How many times
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) count: usize,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Words {
    /// Passed on as they are
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// As if `[app] env` were "production"
    #[arg(long)]
    pub(crate) production: bool,
    /// Show every effective value and where it comes from
    #[arg(long)]
    pub(crate) show: bool,
    /// Also boot the application and try its Redis, cache and queue, with a job that runs and is gone
    #[arg(long, conflicts_with = "show")]
    pub(crate) probe: bool,
    /// How many seconds that job may take to be run: workers may be in the middle of others
    #[arg(long, value_name = "SECONDS", default_value_t = 20, requires = "probe")]
    pub(crate) probe_wait: u64,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
    /// What `regie up` starts beside everything else: says what a person should know
    #[arg(long, hide = true)]
    pub(crate) at_start: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Replace a regie.toml that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// redis-cli on the application's store; without redis-tools a plain prompt
    #[command(disable_help_flag = true)]
    Cli(Words),
    /// Memory, keys, hits, clients and persistence
    Stats {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Look whether the data is whole; nothing is changed
    Check {
        /// The folder, in place of the application's store
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Make damaged data usable again, after a copy of it; the store must be stopped
    Repair {
        /// The folder, in place of the application's store
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// A consistent copy, also while the store runs
    Backup {
        /// The folder to make
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Bring in what a Redis or Valkey holds
    Import(StoreImport),
    /// Bring everything to a Redis or Valkey, or into an RDB file
    Export {
        /// redis://HOST:PORT (its password in the variable REDISCLI_AUTH), or the file to make
        #[arg(long, value_name = "URL|FILE")]
        to: String,
        /// Replace keys that are there already; otherwise they stay
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StoreImport {
    /// redis://HOST:PORT of a running server (its password in the variable REDISCLI_AUTH), or its dump.rdb, append-only
    /// file or data folder
    #[arg(long, value_name = "URL|FILE")]
    pub(crate) from: String,
    /// Replace keys that are here already; otherwise they stay
    #[arg(long)]
    pub(crate) replace: bool,
    /// Only keys that match this pattern, as in KEYS
    #[arg(long = "match", value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// Only this database; may be repeated
    #[arg(long = "db", value_name = "N")]
    pub(crate) databases: Vec<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Move {
    /// Waiting, delayed and failed jobs, while both sides are in use
    Queue {
        #[command(flatten)]
        ends: Ends,
        /// Only this queue; may be repeated
        #[arg(long = "queue", value_name = "NAME", conflicts_with = "rollback")]
        queues: Vec<String>,
    },
    /// Visitors' sessions, with their lifetimes: nobody is logged out
    Sessions(Ends),
    /// Cached values and locks, with their lifetimes
    Cache(Ends),
}

/// From where to where, and what else is to be done.
#[derive(Debug, Args)]
pub(crate) struct Ends {
    /// The connection, transport, session driver or cache store to leave, as the application names it; in Symfony also
    /// the address that a variable in .env has
    #[arg(long, value_name = "NAME", required_unless_present = "rollback", requires = "to")]
    pub(crate) from: Option<String>,
    /// The one to move to
    #[arg(long, value_name = "NAME", required_unless_present = "rollback", requires = "from")]
    pub(crate) to: Option<String>,
    /// Change .env to the new one too, with a copy of the file as it was, and reload what runs
    #[arg(long)]
    pub(crate) write_env: bool,
    /// Go back: undo the last such move, and its change of .env
    #[arg(long, conflicts_with_all = ["from", "to", "write_env"])]
    pub(crate) rollback: bool,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Any option of its own runs the store alone, with redis-server's defaults, instead of the application's.
#[derive(Debug, Args)]
pub(crate) struct StoreRole {
    /// Listen here; may be repeated. Beyond loopback only with a password
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Listen on a Unix socket too
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: Option<PathBuf>,
    /// Keep the data in this folder; without it nothing is kept
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// The file that holds the password; the variable REGIE_STORE_PASSWORD may hold it too
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// A setting as in redis.conf; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// HTTP in; PHP pools, static files and FastCGI servers out
    Gateway,
    /// Hands queued jobs to the workers
    Jobs,
    /// Runs scheduled tasks when they are due
    Schedule,
    /// Leads the application to the master that the sentinels of the store name
    Sentinel,
    /// The store that speaks Redis's protocol; with options of its own in place of redis-server
    Store(Box<StoreRole>),
    /// Reloads the pools that hold the application in memory when its files change (development)
    Watch,
}

/// Which jobs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Only those of this class, with or without its namespace
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Only those with this text in the payload
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Every queue: waiting, delayed, reserved, jobs per second, wait and run times, workers
    Stats {
        /// As text for Prometheus (OpenMetrics); over HTTP, the socket run/jobs.sock of the state folder answers with it too
        #[arg(long, conflicts_with = "json")]
        openmetrics: bool,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// The jobs of a queue
    List {
        /// As redis:default
        queue: String,
        /// waiting, delayed, reserved or parked
        #[arg(long, value_name = "STATE", default_value = "waiting")]
        state: String,
        /// How many at most
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        filter: Filter,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Jobs that have run, the latest first; --failed: those that failed or killed their worker
    Runs {
        /// Only what failed
        #[arg(long)]
        failed: bool,
        /// Only those with this text in id, class, queue, tag or exception
        #[arg(long, value_name = "TEXT")]
        grep: Option<String>,
        /// Only those of this class, with or without its namespace
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Only those with this tag
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// Only those of this queue
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// Only those that ended within this time, as 10m or 2h
        #[arg(long, value_name = "SPAN")]
        since: Option<String>,
        /// How many at most
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Laravel's batches, the latest first: how many jobs, how many are to come or have failed, progress
    Batches {
        /// How many at most
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// The failed jobs, as the framework keeps them
    Failed {
        /// For machines: what the runner has seen fail
        #[arg(long)]
        json: bool,
    },
    /// One job's last run: times, exception, output, payload
    Show {
        /// The job's id
        id: String,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Put failed jobs back into their queue; with filters, those that the record of runs knows
    Retry {
        /// Ids, or all
        #[arg(required_unless_present_any = ["class", "tag", "text"])]
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// Without asking
        #[arg(long, visible_alias = "force")]
        yes: bool,
        /// Parked jobs of this queue in place of failed ones
        #[arg(long, value_name = "QUEUE")]
        parked: Option<String>,
    },
    /// Drop a failed job; with filters, those that the record of runs knows
    Forget {
        /// The job's id
        #[arg(required_unless_present_any = ["class", "tag", "text"])]
        id: Option<String>,
        #[command(flatten)]
        filter: Filter,
        /// Without asking
        #[arg(long, visible_alias = "force")]
        yes: bool,
        /// A parked job of this queue in place of a failed one
        #[arg(long, value_name = "QUEUE")]
        parked: Option<String>,
    },
    /// Drop every failed job
    Flush {
        /// The parked jobs of this queue in place of the failed ones
        #[arg(long, value_name = "QUEUE")]
        parked: Option<String>,
    },
    /// Drop every job of a queue: waiting, delayed, reserved; with filters, only those, and none that a worker has
    Clear {
        /// As redis:default
        queue: String,
        #[command(flatten)]
        filter: Filter,
        /// With filters: waiting, delayed or parked ones only; may be repeated. Without it, waiting and delayed ones
        #[arg(long, value_name = "STATE")]
        state: Vec<String>,
        /// Without asking
        #[arg(long, visible_alias = "yes")]
        force: bool,
    },
    /// Let delayed or parked jobs of a queue run now, all or those of the filters
    Release {
        /// As redis:default
        queue: String,
        /// delayed or parked
        #[arg(long, value_name = "STATE", default_value = "delayed")]
        state: String,
        #[command(flatten)]
        filter: Filter,
        /// Without asking
        #[arg(long, visible_alias = "force")]
        yes: bool,
    },
    /// Take a job out that waits, or stop one that runs: its worker is ended, and it has failed
    Cancel {
        /// The job's id
        id: String,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Start no more jobs of a queue
    Pause {
        /// As redis:default
        queue: String,
    },
    /// Go on with a paused queue
    Resume {
        /// As redis:default
        queue: String,
    },
    /// Run the framework's own worker here, to watch jobs go by; it works beside the others
    Work {
        /// As redis:high, or several of one connection joined by commas; of Symfony, transports
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// One job
        #[arg(long, conflicts_with = "stop_when_empty")]
        once: bool,
        /// Until nothing waits (Laravel)
        #[arg(long)]
        stop_when_empty: bool,
    },
    /// Fails when a queue is longer or older than it may be
    Monitor {
        /// Queues; all when none is named
        queues: Vec<String>,
        /// The most jobs that may wait
        #[arg(long, value_name = "N", default_value_t = 1000)]
        max: u64,
        /// The longest time that the first one may have waited, in seconds
        #[arg(long, value_name = "SECONDS")]
        age: Option<u64>,
        /// For machines
        #[arg(long)]
        json: bool,
    },
}
