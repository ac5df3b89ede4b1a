//! The types that values of regie.toml have, each with its own reading and its own words for what may be written.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use regie_core::secret::is_secret_name;
use regie_core::{ByteSize, Secret, Span};

use crate::document::{Node, Value};
use crate::schema::{Origin, Reader, Setting, did_you_mean, quoted};

/// Declares an enum that is written as one of a few words.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum $name {
            $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+
        }

        impl $name {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::schema::Setting for $name {
            fn kind() -> String {
                format!("one of {}", Self::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", "))
            }

            fn read(
                node: &$crate::document::Node,
                reader: &mut $crate::schema::Reader<'_>,
            ) -> Option<Self> {
                let kind = Self::kind();
                let text = reader.text(node, &kind)?;
                let found = Self::ALL.iter().find(|word| word.as_str() == text);
                if found.is_none() {
                    let fix = $crate::schema::did_you_mean(&text, Self::ALL.iter().map(|w| w.as_str()));
                    reader.fault(&node.place, format!("expects {kind}, found \"{text}\""), fix);
                }
                found.copied()
            }

            fn show(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}

words! {
    /// Whether faults are shown and changes seen at once, or speed and safety come first.
    AppEnv {
        /// Changes are seen at once; logs go to the terminal.
        Development = "development",
        /// Code is taken as it was at start; debug mode is refused.
        Production = "production",
    }
}

words! {
    /// The framework of an application, which decides its document root and front controller.
    Framework {
        /// Laravel: `artisan` and `public/index.php`.
        Laravel = "laravel",
        /// Symfony: `bin/console` and `public/index.php`.
        Symfony = "symfony",
        /// WordPress: `wp-load.php` and permalinks through `index.php`.
        Wordpress = "wordpress",
        /// A folder of PHP files.
        Plain = "plain",
    }
}

words! {
    /// How a pool runs PHP.
    Mode {
        /// A full PHP request per HTTP request, as in php-fpm.
        Classic = "classic",
        /// The application boots once and handles requests in a loop.
        Worker = "worker",
        /// The application boots once and memory is put back after each request.
        Rewind = "rewind",
    }
}

words! {
    /// The form of the access log.
    AccessLog {
        /// No access log.
        Off = "off",
        /// The combined format of Apache and nginx, with the request id at its end.
        Combined = "combined",
        /// One JSON object per line.
        Json = "json",
    }
}

words! {
    /// A coding in which responses are compressed.
    Coding {
        /// Zstandard.
        Zstd = "zstd",
        /// Brotli.
        Br = "br",
        /// Gzip.
        Gzip = "gzip",
    }
}

words! {
    /// What a worker puts back between two requests.
    Reset {
        /// Values changed by `ini_set`.
        Ini = "ini",
        /// The working directory.
        Cwd = "cwd",
        /// The umask.
        Umask = "umask",
        /// The locale.
        Locale = "locale",
        /// The time zone.
        Timezone = "timezone",
        /// Error and exception handlers.
        Handlers = "handlers",
    }
}

words! {
    /// When a program that ended is started again.
    Restart {
        /// Whenever it ends.
        Always = "always",
        /// When it ends with a status that `exit_codes` does not name, or by a signal.
        Unexpected = "unexpected",
        /// Never.
        Never = "never",
    }
}

words! {
    /// When what was written to the store is on the disk.
    Appendfsync {
        /// Before the answer.
        Always = "always",
        /// At most a second later.
        Everysec = "everysec",
        /// When the system gets to it.
        No = "no",
    }
}

words! {
    /// What goes when the store is full.
    MaxmemoryPolicy {
        /// Nothing; writes are refused.
        Noeviction = "noeviction",
        /// The least recently used of all keys.
        AllkeysLru = "allkeys-lru",
        /// The least often used of all keys.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// The least recently used of the keys that expire.
        VolatileLru = "volatile-lru",
        /// The least often used of the keys that expire.
        VolatileLfu = "volatile-lfu",
        /// Any key that expires.
        VolatileRandom = "volatile-random",
        /// The key that expires first.
        VolatileTtl = "volatile-ttl",
    }
}

words! {
    /// A signal that asks a program to stop.
    Signal {
        /// Terminate.
        Term = "TERM",
        /// Hang up.
        Hup = "HUP",
        /// Interrupt, as Ctrl-C.
        Int = "INT",
        /// Quit.
        Quit = "QUIT",
        /// Kill, which cannot be caught.
        Kill = "KILL",
        /// User's first.
        Usr1 = "USR1",
        /// User's second.
        Usr2 = "USR2",
    }
}

/// Declares types that are read from text by `FromStr` and shown by `Display`.
macro_rules! from_text {
    ($($type:ty: $kind:literal;)+) => {$(
        impl Setting for $type {
            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                reader.parsed(node, $kind, |text| text.parse::<$type>())
            }

            fn show(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )+};
}

from_text! {
    Listen: "an address such as \"127.0.0.1:8000\" or \"unix:/run/site.sock\"";
    Network: "an address or network such as \"10.0.0.0/8\"";
    Ready: "a check such as \"tcp:127.0.0.1:3306\", \"unix:/run/db.sock\", \"http://127.0.0.1:5173/\", \"command:mysqladmin ping\", \"notify\" or \"running\"";
    Upstream: "a FastCGI server such as \"unix:/run/php/php8.2-fpm.sock\" or \"10.0.0.3:9000\"";
}

impl Setting for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(*yes),
            Value::Text(text) if text.contains("${") => {
                reader.parsed(node, "true or false", |text| match text.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" | "on" => Ok(true),
                    "false" | "0" | "no" | "off" | "" => Ok(false),
                    other => Err(format!("\"{other}\" is neither")),
                })
            }
            Value::Text(text) if matches!(text.as_str(), "true" | "false") => {
                reader.fault(
                    &node.place,
                    "expects true or false, found a string",
                    Some("write it without quotes".into()),
                );
                None
            }
            _ => {
                reader.mismatch(node, "true or false");
                None
            }
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The whole number in `node` between `min` and `max`.
fn integer(node: &Node, reader: &mut Reader<'_>, min: i64, max: i64) -> Option<i64> {
    let kind = if max == i64::MAX || max == i64::from(u32::MAX) {
        if min == 0 { "a number".to_owned() } else { format!("a number from {min}") }
    } else {
        format!("a number from {min} to {max}")
    };
    let number = match &node.value {
        Value::Integer(number) => *number,
        Value::Text(text) if text.contains("${") => reader.parsed(node, &kind, |text| {
            text.trim().parse::<i64>().map_err(|_| format!("\"{text}\" is none"))
        })?,
        Value::Text(text) if text.parse::<i64>().is_ok() => {
            reader.fault(
                &node.place,
                format!("expects {kind}, found a string"),
                Some("write it without quotes".into()),
            );
            return None;
        }
        _ => {
            reader.mismatch(node, &kind);
            return None;
        }
    };
    if (min..=max).contains(&number) {
        return Some(number);
    }
    reader.fault(&node.place, format!("expects {kind}, found {number}"), None);
    None
}

macro_rules! numbers {
    ($($type:ty: $min:expr, $max:expr, $kind:literal;)+) => {$(
        impl Setting for $type {
            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                integer(node, reader, $min, $max).and_then(|number| number.try_into().ok())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

numbers! {
    u8: 0, 255, "a number from 0 to 255";
    u16: 0, 65_535, "a number from 0 to 65535";
    u32: 0, i64::from(u32::MAX), "a number";
    u64: 0, i64::MAX, "a number";
    i32: -20, 19, "a number from -20 to 19";
}

impl Setting for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "text").filter(|text| no_nul(text, node, reader))
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

/// Texts end up in environments and arguments, which a NUL byte would cut.
fn no_nul(text: &str, node: &Node, reader: &mut Reader<'_>) -> bool {
    if text.contains('\0') {
        reader.fault(&node.place, "contains a NUL character", None);
        return false;
    }
    true
}

impl Setting for PathBuf {
    fn kind() -> String {
        "a path".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a path").filter(|text| no_nul(text, node, reader))?;
        if text.is_empty() {
            reader.fault(&node.place, "expects a path, found nothing", Some("leave the key out".into()));
            return None;
        }
        Some(Self::from(text))
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for Secret {
    fn kind() -> String {
        "a secret: text, `${NAME}` or `${file:/path}`".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "text").map(Self::new)
    }

    fn show(&self) -> String {
        if self.reveal().is_empty() { "\"\"".to_owned() } else { "\"***\"".to_owned() }
    }
}

impl Setting for ByteSize {
    fn kind() -> String {
        "a size such as \"512mb\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Integer(bytes) = node.value
            && let Ok(bytes) = u64::try_from(bytes)
        {
            return Some(Self(bytes));
        }
        reader.parsed(node, "a size such as \"512mb\"", str::parse)
    }

    fn show(&self) -> String {
        quoted(&self.to_string().replace(' ', "").to_ascii_lowercase())
    }
}

impl Setting for Span {
    fn kind() -> String {
        "a time such as \"30s\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Integer(seconds) = node.value
            && let Ok(seconds) = u64::try_from(seconds)
            && seconds.checked_mul(1000).is_some()
        {
            return Some(Self::secs(seconds));
        }
        reader.parsed(node, "a time such as \"30s\"", str::parse)
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, reader).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn record(&self, key: &str, node: Option<&Node>, origin: Origin, reader: &mut Reader<'_>) {
        match self {
            Some(value) => value.record(key, node, origin, reader),
            None => reader.row(key, String::new(), origin),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("a list, each {}", T::kind())
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let fix = matches!(node.value, Value::Text(_)).then(|| "put it in [ ]".to_owned());
            reader.fault(&node.place, format!("expects a list, found {}", node.value.name()), fix);
            return None;
        };
        let read: Vec<T> = items.iter().filter_map(|item| T::read(item, reader)).collect();
        (read.len() == items.len()).then_some(read)
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> String {
        format!("a table, each value {}", T::kind())
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.map(node)
    }

    fn show(&self) -> String {
        let show = |(name, value): (&String, &T)| format!("{name} = {}", value.show());
        format!("{{ {} }}", self.iter().map(show).collect::<Vec<_>>().join(", "))
    }

    fn record(&self, key: &str, node: Option<&Node>, origin: Origin, reader: &mut Reader<'_>) {
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        if self.is_empty() {
            reader.row(key, String::new(), origin);
            return;
        }
        for (name, value) in self {
            let own =
                table.and_then(|table| table.get(name)).map(|entry| Origin::File(entry.node.place.clone()));
            let shown = if is_secret_name(name) { "\"***\"".to_owned() } else { value.show() };
            reader.row(&format!("{key}.{name}"), shown, own.unwrap_or_else(|| origin.clone()));
        }
    }
}

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// As the processors and the memory of the machine allow.
    Auto,
    /// This many.
    Exactly(u32),
}

/// More processes than this are a slip, not a wish.
pub const PROCESSES_MAX: u32 = 1024;

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(number) => number.fmt(f),
        }
    }
}

impl Setting for Count {
    fn kind() -> String {
        "a number or \"auto\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "auto" => Some(Self::Auto),
            Value::Text(text) if !text.contains("${") && text.parse::<i64>().is_err() => {
                let fix = did_you_mean(text, ["auto"]);
                reader.fault(&node.place, format!("expects a number or \"auto\", found \"{text}\""), fix);
                None
            }
            _ => integer(node, reader, 1, i64::from(PROCESSES_MAX))
                .and_then(|n| n.try_into().ok())
                .map(Self::Exactly),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "\"auto\"".to_owned(),
            Self::Exactly(number) => number.to_string(),
        }
    }
}

/// A value for php.ini; numbers and booleans are written as PHP reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IniValue(pub String);

impl fmt::Display for IniValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for IniValue {
    fn kind() -> String {
        "text, a number, true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(Self(if *yes { "1" } else { "0" }.to_owned())),
            Value::Integer(number) => Some(Self(number.to_string())),
            Value::Float(number) if number.is_finite() => Some(Self(number.to_string())),
            Value::Text(_) => {
                let text = reader.text(node, "text").filter(|text| no_nul(text, node, reader))?;
                if text.contains(['\n', '\r']) {
                    reader.fault(&node.place, "an ini value is a single line", None);
                    return None;
                }
                Some(Self(text))
            }
            _ => {
                reader.mismatch(node, "text, a number, true or false");
                None
            }
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A value of an environment variable; numbers and booleans are taken as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvValue(pub String);

impl Setting for EnvValue {
    fn kind() -> String {
        "text, a number, true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(Self(yes.to_string())),
            Value::Integer(number) => Some(Self(number.to_string())),
            Value::Float(number) => Some(Self(number.to_string())),
            _ => String::read(node, reader).map(Self),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A command: a line that `sh` runs, or a list that is run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Given to `sh -c`.
    Shell(String),
    /// The program and its arguments.
    Arguments(Vec<String>),
}

impl Setting for CommandLine {
    fn kind() -> String {
        "a command line for sh, or a list of program and arguments".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let command = match &node.value {
            Value::List(_) => Self::Arguments(Vec::read(node, reader)?),
            _ => Self::Shell(
                reader
                    .text(node, "a command line or a list of arguments")
                    .filter(|t| no_nul(t, node, reader))?,
            ),
        };
        let empty = match &command {
            Self::Shell(line) => line.trim().is_empty(),
            Self::Arguments(list) => list.first().is_none_or(String::is_empty),
        };
        if empty {
            reader.fault(&node.place, "the command is empty", None);
            return None;
        }
        Some(command)
    }

    fn show(&self) -> String {
        match self {
            Self::Shell(line) => quoted(line),
            Self::Arguments(list) => list.show(),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self::Shell(String::new()))
    }
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// A bare port is one on loopback: nothing listens further without being told so by an address.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return unix_path(path).map(Self::Unix);
        }
        let loopback = Ipv4Addr::LOCALHOST;
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok(Self::Tcp(SocketAddr::from((loopback, port))));
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
            return Ok(Self::Tcp(SocketAddr::from((loopback, port))));
        }
        if let Some(port) = text.strip_prefix("*:") {
            return Err(format!("write 0.0.0.0:{port} to listen on every address"));
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("\"{text}\" has no port"));
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("\"{text}\" is none"))
    }
}

/// A path that fits into `sun_path`.
fn unix_path(path: &str) -> Result<PathBuf, String> {
    const SUN_PATH_MAX: usize = 107;
    match path {
        "" => Err("the path is missing".to_owned()),
        path if path.len() > SUN_PATH_MAX => Err(format!("the path is longer than {SUN_PATH_MAX} bytes")),
        path if path.contains('\0') => Err("the path contains a NUL character".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// A FastCGI server that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// Host (name or address) and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("fastcgi://").or_else(|| text.strip_prefix("tcp://")).unwrap_or(text);
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return unix_path(path).map(Self::Unix);
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err(format!("\"{text}\" has no port")) };
        let port = port.parse().map_err(|_| format!("\"{port}\" is no port"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ', '@', '\0']) {
            return Err(format!("\"{host}\" is no host"));
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits are the network's.
    pub prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let drop = |width: u32| width - u32::from(self.prefix);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other)).checked_shr(drop(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other)).checked_shr(drop(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address = match address {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => address.parse::<IpAddr>().map_err(|_| format!("\"{text}\" is none"))?,
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) => {
                let prefix = digits.parse::<u8>().ok().filter(|prefix| *prefix <= width);
                prefix.ok_or_else(|| format!("the prefix is a number from 0 to {width}"))?
            }
        };
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        };
        Ok(Self { address: first, prefix })
    }
}

/// When a program counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// When it has run for its `start_time`.
    Running,
    /// When it says `READY=1` on the socket in `NOTIFY_SOCKET`.
    Notify,
    /// When a TCP connection is accepted.
    Tcp(String),
    /// When a connection to a Unix socket is accepted.
    Unix(PathBuf),
    /// When an HTTP request is answered with 2xx or 3xx.
    Http(String),
    /// When a command ends with status 0.
    Command(String),
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Notify => f.write_str("notify"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) => f.write_str(url),
            Self::Command(line) => write!(f, "command:{line}"),
        }
    }
}

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "running" => Ok(Self::Running),
            None if text == "notify" => Ok(Self::Notify),
            Some(("tcp", address)) => match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => Err(format!("\"{address}\" is no host:port")),
            },
            Some(("unix", path)) => unix_path(path).map(Self::Unix),
            Some(("http", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Http(text.to_owned()))
            }
            Some(("command", line)) if !line.trim().is_empty() => Ok(Self::Command(line.to_owned())),
            _ => Err(format!("\"{text}\" is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_stay_on_loopback_unless_an_address_is_named() {
        for (text, expected) in [
            ("127.0.0.1:8000", Ok("127.0.0.1:8000")),
            ("8000", Ok("127.0.0.1:8000")),
            (":8000", Ok("127.0.0.1:8000")),
            ("localhost:80", Ok("127.0.0.1:80")),
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            ("[::1]:80", Ok("[::1]:80")),
            ("unix:/run/site.sock", Ok("unix:/run/site.sock")),
            ("/run/site.sock", Ok("unix:/run/site.sock")),
            ("*:80", Err("write 0.0.0.0:80 to listen on every address")),
            ("10.0.0.1", Err("\"10.0.0.1\" has no port")),
            ("example.org:80", Err("\"example.org:80\" is none")),
            ("unix:", Err("the path is missing")),
            ("127.0.0.1:99999", Err("\"127.0.0.1:99999\" is none")),
        ] {
            let read = text.parse::<Listen>().map(|listen| listen.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
        for wrong in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/", "x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn upstreams_and_ready_checks_read_back_as_written() {
        for text in ["unix:/run/php/php8.2-fpm.sock", "10.0.0.3:9000", "fpm:9000", "[::1]:9000"] {
            assert_eq!(text.parse::<Upstream>().unwrap().to_string(), text);
        }
        for wrong in ["fpm", ":9000", "fpm:x", "unix:", "http://a/b:1"] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
        for text in [
            "running",
            "notify",
            "tcp:127.0.0.1:3306",
            "unix:/run/db",
            "http://127.0.0.1:5173/",
            "command:true",
        ] {
            assert_eq!(text.parse::<Ready>().unwrap().to_string(), text);
        }
        for wrong in ["", "tcp:3306", "unix:", "http:", "command: ", "soon"] {
            assert!(wrong.parse::<Ready>().is_err(), "{wrong}");
        }
    }
}
