//! A site that is known by a list of its files, for tests of rules.

use super::{Asked, Lies, Look};
use std::net::IpAddr;

/// A document root with these files, and folders for them; and headers that a client has sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listed<'a> {
    /// Their paths below the document root, each with a slash at its beginning.
    pub files: &'a [&'a str],
    /// Names in small letters, and values.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Look for Listed<'_> {
    fn lies_at(&self, path: &str) -> Lies {
        let folder = format!("{}/", path.trim_end_matches('/'));
        if self.files.contains(&path) {
            Lies::File
        } else if self.files.iter().any(|file| file.starts_with(&folder)) {
            Lies::Folder
        } else {
            Lies::Nothing
        }
    }

    fn index_of(&self, folder: &str) -> Option<String> {
        Some(format!("{folder}index.php")).filter(|index| self.files.contains(&index.as_str()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|header| header.0 == name).map_or("", |header| header.1)
    }
}

impl<'a> Asked<'a> {
    /// A GET of an address of `www.example.org` on port 80; whether TLS was spoken is not known.
    #[must_use]
    pub fn get(address: &'a str) -> Self {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        Self {
            path,
            query,
            target: address,
            host: "www.example.org",
            method: "GET",
            protocol: "HTTP/1.1",
            https: None,
            address: IpAddr::from([192, 0, 2, 7]),
            port: 80,
            root: "/srv/site",
        }
    }
}
