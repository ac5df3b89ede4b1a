//! Files that PHP leaves to the gateway: `X-Sendfile` (a path of the file system) and `X-Accel-Redirect` (an address that
//! configuration maps to a folder, as nginx's internal locations do).
//!
//! PHP may name only what the application could show anyway: `X-Sendfile` files below the application's folder and the
//! folders that configuration allows, `X-Accel-Redirect` files below the mapped folder or the document root. Links are
//! resolved before that is checked; an address that tries to go up is refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::target::Target;

/// What PHP asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A file, which must lie below one of the allowed folders.
    Anywhere(PathBuf),
    /// A file that must lie below this folder.
    Below(PathBuf, Vec<u8>),
    /// A file of the document root, at this path.
    InRoot(Vec<u8>),
    /// Nothing that can be understood.
    Refused,
}

/// Reads `X-Sendfile`. Relative paths are refused: nobody knows what they are relative to.
#[must_use]
pub fn sendfile(value: &[u8]) -> Wanted {
    let path = Path::new(OsStr::from_bytes(value));
    if path.is_absolute() && !value.contains(&0) { Wanted::Anywhere(path.into()) } else { Wanted::Refused }
}

/// Reads `X-Accel-Redirect`; of several prefixes that fit the longest is taken.
#[must_use]
pub fn accel(value: &str, mapped: &[(String, PathBuf)]) -> Wanted {
    let Ok(target) = Target::parse(value) else { return Wanted::Refused };
    let fitting = mapped
        .iter()
        .filter_map(|(prefix, folder)| {
            let prefix = prefix.trim_end_matches('/');
            let rest = target.path.strip_prefix(prefix.as_bytes()).filter(|rest| rest.starts_with(b"/"))?;
            Some((prefix.len(), folder, rest))
        })
        .max_by_key(|(len, ..)| *len);
    match fitting {
        Some((_, folder, rest)) => Wanted::Below(folder.clone(), rest.to_owned()),
        None => Wanted::InRoot(target.path.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_folders() {
        let mapped = [
            ("/protected/".to_owned(), PathBuf::from("/srv/files")),
            ("/protected/deep".to_owned(), PathBuf::from("/srv/deep")),
        ];
        for (value, expected) in [
            ("/protected/a%20b.pdf", Wanted::Below("/srv/files".into(), b"/a b.pdf".into())),
            ("/protected/deep/x", Wanted::Below("/srv/deep".into(), b"/x".into())),
            ("/protected/deeper", Wanted::Below("/srv/files".into(), b"/deeper".into())),
            ("/protectedx", Wanted::InRoot(b"/protectedx".into())),
            ("/protected/caf%E9", Wanted::Below("/srv/files".into(), b"/caf\xe9".into())),
            ("/protected/../x", Wanted::InRoot(b"/x".into())),
            ("/protected/%2e%2e/x", Wanted::Refused),
            ("/../x", Wanted::Refused),
            ("x", Wanted::Refused),
        ] {
            assert_eq!(accel(value, &mapped), expected, "{value}");
        }
        assert_eq!(sendfile(b"/srv/a"), Wanted::Anywhere("/srv/a".into()));
        assert_eq!(sendfile(b"a"), Wanted::Refused);
    }
}
