//! Time zones, by the names of the IANA database.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

/// A time zone of this machine's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub TimeZone);

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        TimeZone::get(name).map(Self).map_err(|_| {
            format!("\"{name}\" is no time zone that this machine knows (they are in the package tzdata)")
        })
    }
}
