//! What must outlive a process is opened by the supervisor and handed on by name.
//!
//! The descriptors start at 3; `LISTEN_FDS` counts them and `LISTEN_FDNAMES` names them, joined by colons
//! (the protocol of systemd's `sd_listen_fds_with_names(3)`, so a part also starts under systemd's socket
//! activation). `LISTEN_PID` is honoured when it is there.

/// The first descriptor that is handed on.
pub const FIRST_FD: i32 = 3;

/// Names of the descriptors that Régie hands on. `http0`, `http1` … are the gateway's listeners in the order of
/// `[gateway] listen`; a pool's socket bears the pool's own name (`php.web`).
pub mod names {
    /// The pipe whose other end only the supervisor holds: end of file means that the supervisor has died.
    pub const LIFELINE: &str = "lifeline";
    /// Prefix of the gateway's listeners.
    pub const HTTP_PREFIX: &str = "http";
    /// Prefix of the listeners on which the gateway tells about itself.
    pub const STATUS_PREFIX: &str = "status";
}

/// The descriptors named `names`, as the environment of the process describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handoff {
    entries: Vec<(String, i32)>,
}

impl Handoff {
    /// Reads the three variables, given as a look-up so that tests need no environment. A count or pid that is not
    /// ours or not a number means that nothing was handed on; a missing name is `unknown`, as systemd has it.
    #[must_use]
    pub fn parse(variable: impl Fn(&str) -> Option<String>, own_pid: u32) -> Self {
        if variable("LISTEN_PID").is_some_and(|pid| pid.parse() != Ok(own_pid)) {
            return Self::default();
        }
        let count: usize = variable("LISTEN_FDS").and_then(|n| n.parse().ok()).unwrap_or(0);
        let named = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = named.split(':');
        let entries = (FIRST_FD..)
            .take(count.min(LIMIT))
            .map(|fd| (given.next().filter(|n| !n.is_empty()).unwrap_or("unknown").to_owned(), fd))
            .collect();
        Self { entries }
    }

    /// The descriptor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<i32> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, fd)| *fd)
    }

    /// All descriptors with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.entries.iter().map(|(name, fd)| (name.as_str(), *fd))
    }
}

/// No part needs more; a larger count is a mistake in the environment.
pub const LIMIT: usize = 256;

/// The value of `LISTEN_FDNAMES` for `names` in order. A colon would split a name, so it becomes a dash.
#[must_use]
pub fn join_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| name.replace(':', "-")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Handoff {
        let owned: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Handoff::parse(|name| owned.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()), 7)
    }

    #[test]
    fn names_find_their_descriptors() {
        let handed = parse(&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http0:lifeline")]);
        assert_eq!(handed.get("http0"), Some(3));
        assert_eq!(handed.get("lifeline"), Some(4));
        assert_eq!(handed.get("other"), None);
    }

    #[test]
    fn what_is_not_ours_is_not_taken() {
        assert_eq!(parse(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "8")]), Handoff::default());
        assert_eq!(parse(&[("LISTEN_FDS", "many")]), Handoff::default());
        assert_eq!(parse(&[]), Handoff::default());
        assert_eq!(parse(&[("LISTEN_FDS", "1")]).get("unknown"), Some(3));
    }

    #[test]
    fn a_colon_cannot_split_a_name() {
        assert_eq!(join_names(["php:web", "lifeline"]), "php-web:lifeline");
    }
}
