//! Who works on the application's queues: `[workers]` and `[workers.NAME]`.

use std::collections::BTreeMap;

use regie_core::{ByteSize, Span};

use crate::document::{Entry, Node, Table, Value};
use crate::schema::{Reader, Section, Setting, section};
use crate::settings::table;
use crate::values::{HorizonUse, Rate};

section! {
    /// What holds for all queue workers.
    AllWorkers {
        /// What becomes of laravel/horizon where it is installed: `beside`, it runs and its queues are left to it; or
        /// `replace`, it does not, and each of its supervisors in config/horizon.php is a group of workers.
        horizon: HorizonUse = "\"beside\"", "\"replace\"";
    }
}

section! {
    /// A group of queue workers: who works on what.
    Workers {
        /// The queues, as connection and queue or as a transport; the first that has work goes first. None: the default
        /// connection's default queue, or every transport.
        queues: Vec<String> = "[]", "[\"redis:high\", \"redis:default\"]";
        /// A share for each of the queues, in their order (1 where none is written), in place of the first going first.
        weights: Vec<u32> = "[]", "[3, 1]";
        /// The fewest workers. With 0, there is none when there is nothing to do; the first job that waits starts one.
        min: u32 = "1", "2";
        /// The most workers.
        max: u32 = "4", "16";
        /// How long jobs may wait: as many workers are started as do what waits within this time. Without it, another one
        /// starts as soon as a job waits.
        wait_target: Option<Span> = (found "none"), "\"10s\"";
        /// How often a job is tried; the job class's own number wins.
        tries: u32 = "3", "5";
        /// How long a job may take; the job class's own time wins.
        timeout: Span = "\"300s\"", "\"60s\"";
        /// How long to wait before each further try; the job class's own times win.
        backoff: Vec<Span> = "[\"1s\", \"10s\", \"60s\"]", "[\"5s\"]";
        /// Up to so many percent are added to the wait after a failure, by chance, so that jobs that failed together are
        /// not tried again together.
        jitter: u32 = "0", "20";
        /// After how long a worker begins anew, when its job has ended; 0 for never.
        max_time: Span = "\"0s\"", "\"1h\"";
        /// After how many jobs a worker begins anew; 0 for never.
        max_jobs: u32 = "0", "1000";
        /// The memory of PHP past which a worker begins anew when its job has ended; "0" for no limit.
        memory: Option<ByteSize> = (found "128 MB for Laravel, as with `queue:work`; no limit for Messenger"), "\"256mb\"";
        /// What one class of jobs or messages may do in this group. Others overtake it meanwhile.
        limits: BTreeMap<String, ClassLimit> = "{}", "{ 'App\\Jobs\\Report' = { concurrency = 2, rate = \"100/1m\" } }";
        /// Whether jobs run while Laravel is in maintenance mode, as with `queue:work --force`.
        maintenance: bool = "false", "true";
        /// The section `[php.NAME]` whose settings its PHP workers have.
        pool: String = "\"jobs\"", "\"reports\"";
    }
}

section! {
    /// Limits of one class of jobs or messages, in one group of workers.
    ClassLimit {
        /// How many of them run at a time.
        concurrency: Option<u32> = (found "as many as there are workers"), "2";
        /// How many of them begin in a span of time.
        rate: Option<Rate> = (found "no limit"), "\"100/1m\"";
    }
}

pub(crate) fn all_workers(root: &Table, reader: &mut Reader<'_>) -> AllWorkers {
    let table = table(root, "workers", reader);
    // Groups, and what is mistaken for a key, are told by whoever reads the groups.
    reader.within("workers", |reader| AllWorkers::read_section(table, reader, &|_| true))
}

pub(crate) fn workers(table: &Table, entry: &Entry, reader: &mut Reader<'_>) -> Workers {
    let workers = Workers::read_section(Some(table), reader, &|_| false);
    if workers.min > workers.max {
        let place = table.get("min").or_else(|| table.get("max")).map_or(&entry.place, |e| &e.node.place);
        reader.fault(place, format!("min {} is more than max {}", workers.min, workers.max), None);
    }
    if workers.max == 0
        && let Some(key) = table.get("max")
    {
        let fix = Some("to keep its jobs waiting, pause its queue: regie queue pause".to_owned());
        reader.fault(&key.node.place, "expects at least 1", fix);
    }
    if workers.jitter > 100
        && let Some(key) = table.get("jitter")
    {
        reader.fault(&key.node.place, "expects percent, from 0 to 100", None);
    }
    workers
}

impl Setting for ClassLimit {
    fn kind() -> String {
        "a table as in [workers.NAME.limits.CLASS]".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            reader.mismatch(node, "a table such as { concurrency = 2 }");
            return None;
        };
        let shown = reader.shown.len();
        let section = format!("{}.limits", reader.section());
        let limit = reader.within(&section, |reader| Self::read_section(Some(table), reader, &|_| false));
        // The rows are those of `limits`, which shows each class on one line.
        reader.shown.truncate(shown);
        if limit.concurrency == Some(0) {
            let place = table.get("concurrency").map_or(&node.place, |key| &key.node.place);
            let fix = Some("to keep its jobs waiting, pause its queue".to_owned());
            reader.fault(place, "expects at least 1", fix);
        }
        Some(limit)
    }

    fn show(&self) -> String {
        let part = |name: &str, value: String| (!value.is_empty()).then(|| format!("{name} = {value}"));
        let parts = [part("concurrency", self.concurrency.show()), part("rate", self.rate.show())];
        format!("{{ {} }}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
