//! Whether a script may start: what it says of itself against how the server stands.

use crate::{ScriptError, ScriptFlags};

/// How the server stands when a script is to start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Situation<'a> {
    /// It came by `EVAL_RO`, `EVALSHA_RO` or `FCALL_RO`.
    pub read_only_command: bool,
    /// The server is part of a cluster.
    pub cluster: bool,
    /// A replica without its master, told not to serve old data.
    pub stale: bool,
    /// A replica that takes writes from its master only, and this is not the master.
    pub read_only_replica: bool,
    /// Why the append-only file cannot be written.
    pub append_only_file_error: Option<&'a str>,
    /// A snapshot could not be written, and writes stop then.
    pub snapshot_error: bool,
    /// Too few good replicas to accept writes.
    pub too_few_replicas: bool,
    /// Memory is used up, and there was nothing to evict.
    pub out_of_memory: bool,
}

impl ScriptFlags {
    /// Refuses what must not start. A script without `#!` line is refused only on a stale replica; its commands are
    /// checked one by one.
    ///
    /// # Errors
    /// Redis's words.
    pub fn admit(&self, situation: &Situation<'_>) -> Result<(), ScriptError> {
        let refuse = |line: &str| Err(ScriptError::new(line));
        if self.compatible {
            return if situation.stale {
                refuse("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
            } else {
                Ok(())
            };
        }
        if self.no_cluster && situation.cluster {
            return refuse("ERR Can not run script on cluster, 'no-cluster' flag is set.");
        }
        if situation.stale && !self.allow_stale {
            return refuse(
                "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not set on the script.",
            );
        }
        if !self.no_writes {
            self.admit_writes(situation)?;
        }
        if situation.out_of_memory && !self.allow_oom && !self.no_writes {
            return refuse(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            );
        }
        Ok(())
    }

    fn admit_writes(self, situation: &Situation<'_>) -> Result<(), ScriptError> {
        let refuse = |line: &str| Err(ScriptError::new(line));
        if situation.read_only_replica {
            return refuse("READONLY Can not run script with write flag on readonly replica");
        }
        if situation.snapshot_error {
            return refuse(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts.",
            );
        }
        if let Some(why) = situation.append_only_file_error {
            return refuse(&format!(
                "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: {why}"
            ));
        }
        if situation.read_only_command {
            return refuse("ERR Can not execute a script with write flag using *_ro command.");
        }
        if situation.too_few_replicas {
            return refuse("NOREPLICAS Not enough good replicas to write.");
        }
        Ok(())
    }

    /// Whether commands that write are refused while it runs: with `ERR Write commands are not allowed from read-only
    /// scripts.`
    #[must_use]
    pub fn only_reads(&self, read_only_command: bool) -> bool {
        read_only_command || (!self.compatible && self.no_writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_against_situations() {
        let plain = ScriptFlags::default();
        let compatible = ScriptFlags { compatible: true, ..plain };
        let no_writes = ScriptFlags { no_writes: true, ..plain };
        let allow_oom = ScriptFlags { allow_oom: true, ..plain };
        let fine = Situation::default();
        let table = [
            (plain, fine, ""),
            (
                plain,
                Situation { read_only_command: true, ..fine },
                "ERR Can not execute a script with write flag",
            ),
            (no_writes, Situation { read_only_command: true, ..fine }, ""),
            (
                compatible,
                Situation { read_only_command: true, out_of_memory: true, cluster: true, ..fine },
                "",
            ),
            (compatible, Situation { stale: true, ..fine }, "MASTERDOWN Link with MASTER is down and"),
            (plain, Situation { stale: true, ..fine }, "MASTERDOWN Link with MASTER is down, "),
            (plain, Situation { out_of_memory: true, ..fine }, "OOM allow-oom flag is not set"),
            (allow_oom, Situation { out_of_memory: true, ..fine }, ""),
            (no_writes, Situation { out_of_memory: true, snapshot_error: true, ..fine }, ""),
            (
                plain,
                Situation { append_only_file_error: Some("disk"), ..fine },
                "MISCONF Redis is configured to persist",
            ),
            (plain, Situation { read_only_replica: true, ..fine }, "READONLY "),
            (plain, Situation { too_few_replicas: true, ..fine }, "NOREPLICAS "),
            (
                ScriptFlags { no_cluster: true, ..plain },
                Situation { cluster: true, ..fine },
                "ERR Can not run script on",
            ),
        ];
        for (flags, situation, expect) in table {
            let line = flags.admit(&situation).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(
                line.starts_with(expect) && line.is_empty() == expect.is_empty(),
                "{flags:?} {situation:?}: {line}"
            );
        }
        assert!(compatible.only_reads(true) && no_writes.only_reads(false) && !compatible.only_reads(false));
    }
}
