//! What a script says about itself: `#!lua flags=no-writes,allow-oom`, and the same flags of a library's function.

use crate::ScriptError;
use crate::text::split_arguments;

/// The flags of a script or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptFlags {
    /// Only reads; may run where writes are refused, and through the `_RO` commands.
    pub no_writes: bool,
    /// May run when memory is used up.
    pub allow_oom: bool,
    /// May run on a replica whose data may be old.
    pub allow_stale: bool,
    /// Must not run on a cluster.
    pub no_cluster: bool,
    /// May reach keys of several slots.
    pub allow_cross_slot_keys: bool,
    /// EVAL of a body without `#!`: none of the flags holds, each command is checked when it is called.
    pub compatible: bool,
}

/// Names in the order in which FUNCTION LIST gives them; the bit of a name is its place.
const NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

impl ScriptFlags {
    fn flag(&mut self, place: usize) -> &mut bool {
        match place {
            0 => &mut self.no_writes,
            1 => &mut self.allow_oom,
            2 => &mut self.allow_stale,
            3 => &mut self.no_cluster,
            _ => &mut self.allow_cross_slot_keys,
        }
    }

    /// From the bits that the C side gives for a function.
    pub(crate) fn from_bits(bits: i32) -> Self {
        let mut flags = Self::default();
        for place in 0..NAMES.len() {
            *flags.flag(place) = bits & (1 << place) != 0;
        }
        flags
    }

    /// The names of the flags that hold.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |&(place, _)| *self.flag(place)).map(|(_, name)| name)
    }

    /// The flags of a body, from its `#!` line.
    ///
    /// # Errors
    /// What is wrong with that line.
    pub fn parse(body: &[u8]) -> Result<Self, ScriptError> {
        Self::of_body(body).map(|(flags, _)| flags)
    }

    /// The flags of a body and where its code begins: after the `#!` line, with its line feed, so that line numbers
    /// stay.
    pub(crate) fn of_body(body: &[u8]) -> Result<(Self, usize), ScriptError> {
        if !body.starts_with(b"#!") {
            return Ok((Self { compatible: true, ..Self::default() }, 0));
        }
        let end = body.iter().position(|&byte| byte == b'\n' || byte == 0).filter(|&end| body[end] == b'\n');
        let Some(end) = end else { return Err(ScriptError::new("ERR Invalid script shebang")) };
        let parts = split_arguments(&body[..end]).filter(|parts| !parts.is_empty());
        let Some(parts) = parts else { return Err(ScriptError::new("ERR Invalid engine in script shebang")) };
        if parts[0] != b"#!lua" {
            return Err(refuse("Unexpected engine in script shebang: ", &parts[0]));
        }
        let mut flags = Self::default();
        for part in &parts[1..] {
            let Some(list) = part.strip_prefix(b"flags=") else {
                return Err(refuse("Unknown lua shebang option: ", part));
            };
            for name in list.split(|&byte| byte == b',').filter(|_| !list.is_empty()) {
                let place = NAMES.iter().position(|known| known.as_bytes() == name);
                let Some(place) = place else {
                    return Err(refuse("Unexpected flag in script shebang: ", name));
                };
                *flags.flag(place) = true;
            }
        }
        Ok((flags, end))
    }
}

fn refuse(words: &str, part: &[u8]) -> ScriptError {
    ScriptError::new([b"ERR ", words.as_bytes(), part].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shebang_lines() {
        let check = |body: &str| ScriptFlags::of_body(body.as_bytes()).map_err(|error| error.to_string());
        let none = ScriptFlags::default();
        let no_writes = ScriptFlags { no_writes: true, ..none };
        type Expect = Result<(ScriptFlags, usize), &'static str>;
        let table: [(&str, Expect); 10] = [
            ("return 1", Ok((ScriptFlags { compatible: true, ..none }, 0))),
            ("#!lua\nreturn 1", Ok((none, 5))),
            ("#!lua flags=\nreturn 1", Ok((none, 12))),
            ("#!lua flags=no-writes\n", Ok((no_writes, 21))),
            ("#!lua flags=no-writes,allow-oom\n", Ok((ScriptFlags { allow_oom: true, ..no_writes }, 31))),
            ("#!lua return 1", Err("ERR Invalid script shebang")),
            ("#!python\n", Err("ERR Unexpected engine in script shebang: #!python")),
            ("#!lua name=x\n", Err("ERR Unknown lua shebang option: name=x")),
            ("#!lua flags=bad\n", Err("ERR Unexpected flag in script shebang: bad")),
            ("#!lua \"a\n", Err("ERR Invalid engine in script shebang")),
        ];
        for (body, expect) in table {
            assert_eq!(check(body), expect.map_err(str::to_owned), "{body}");
        }
        assert_eq!(no_writes.names().collect::<Vec<_>>(), ["no-writes"]);
    }
}
