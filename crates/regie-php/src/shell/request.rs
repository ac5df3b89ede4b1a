//! From the parameters of a FastCGI request to what the engine wants.
//!
//! Names and values are copied to a store of fixed size with a NUL behind each, where they stay until the request is
//! over. A request that does not fit is answered with 431.

use std::ffi::c_char;

use regie_fastcgi::params;
use regie_php_sys::{Param, Request, Text};

use super::area::Area;
use super::log::Line;

/// Bytes of encoded parameters that are taken.
pub(crate) const PARAMS_MAX: usize = 256 * 1024;
/// Parameters that are taken.
const COUNT_MAX: usize = 1024;
/// Two NULs for each, and what [`Store::push`] derives.
const TEXT_MAX: usize = PARAMS_MAX + 2 * COUNT_MAX + 16 * 1024;

/// `1` makes the request a message; see `message.c`.
const MESSAGE: &[u8] = b"REGIE_MESSAGE";
/// The time limit of the request, in place of the pool's; 0 for none.
const TIMEOUT_MS: &[u8] = b"REGIE_TIMEOUT_MS";
/// What a message is called in the log.
pub(crate) const MESSAGE_ID: &[u8] = b"REGIE_ID";

/// Bytes of mapping that a store needs.
pub(crate) const STORE_SIZE: usize = TEXT_MAX + COUNT_MAX * size_of::<Param>() + 64;

/// The parameters of the request in hand.
#[derive(Debug)]
pub(crate) struct Store {
    text: &'static mut [u8],
    used: usize,
    params: &'static mut [Param],
    len: usize,
}

/// The request does not fit, or its parameters are no pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotFit;

const NO_PARAM: Param = Param { name: Text::ABSENT, value: Text::ABSENT };

impl Store {
    pub(crate) fn new(area: &mut Area) -> Self {
        Self { text: area.bytes(TEXT_MAX), used: 0, params: area.array(COUNT_MAX, NO_PARAM), len: 0 }
    }

    /// Takes the place of what was there.
    pub(crate) fn fill(&mut self, encoded: &[u8]) -> Result<(), DoesNotFit> {
        (self.used, self.len) = (0, 0);
        for pair in params::pairs(encoded) {
            let (name, value) = pair.map_err(|_| DoesNotFit)?;
            // PHP's and C's names end at a NUL: such a name or value cannot mean what it says.
            if !name.is_empty() && !name.contains(&0) {
                self.push(name, value)?;
            }
        }
        Ok(())
    }

    /// The value of the last parameter of that name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.params[..self.len].iter().rev().find(|param| bytes(param.name) == name)?;
        Some(bytes(found.value))
    }

    fn text(&self, name: &[u8]) -> Text {
        let found = self.params[..self.len].iter().rev().find(|param| bytes(param.name) == name);
        found.map_or(Text::ABSENT, |param| param.value)
    }

    /// Sets a parameter, in place of one of that name if there is one.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), DoesNotFit> {
        let value = self.keep(value)?;
        if let Some(found) = self.params[..self.len].iter_mut().find(|param| bytes(param.name) == name) {
            found.value = value;
            return Ok(());
        }
        let name = self.keep(name)?;
        self.add(Param { name, value })
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), DoesNotFit> {
        let name = self.keep(name)?;
        let value = self.keep(value)?;
        self.add(Param { name, value })
    }

    fn add(&mut self, param: Param) -> Result<(), DoesNotFit> {
        *self.params.get_mut(self.len).ok_or(DoesNotFit)? = param;
        self.len += 1;
        Ok(())
    }

    /// Copies a text to the store, a NUL behind it.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Result<Text, DoesNotFit> {
        let room = self.text.get_mut(self.used..=self.used + text.len()).ok_or(DoesNotFit)?;
        room[..text.len()].copy_from_slice(text);
        room[text.len()] = 0;
        self.used += text.len() + 1;
        Ok(Text { ptr: room.as_ptr().cast::<c_char>(), len: text.len() })
    }

    /// What a derived path changes, as php-fpm has it. `file` and `path_info` are parts of `SCRIPT_FILENAME`, given by
    /// where they begin and how long they are. Returns the file.
    pub(crate) fn set_script(
        &mut self,
        start: usize,
        file: usize,
        path_info: usize,
    ) -> Result<Text, DoesNotFit> {
        let given = self.find(b"SCRIPT_FILENAME");
        if start == 0 && path_info == 0 {
            return Ok(self.text(b"SCRIPT_FILENAME"));
        }
        let (script, info) = given[start..start + file + path_info].split_at(file);
        self.set(b"ORIG_SCRIPT_FILENAME", given)?;
        self.set(b"SCRIPT_FILENAME", script)?;
        if path_info > 0 {
            let (name, root, before) =
                (self.find(b"SCRIPT_NAME"), self.find(b"DOCUMENT_ROOT"), self.find(b"PATH_INFO"));
            if !before.is_empty() {
                self.set(b"ORIG_PATH_INFO", before)?;
            }
            self.set(b"PATH_INFO", info)?;
            if let Some(shorter) = name.strip_suffix(info) {
                self.set(b"ORIG_SCRIPT_NAME", name)?;
                self.set(b"SCRIPT_NAME", shorter)?;
            }
            if !root.is_empty() {
                let mut translated = Line::<4096>::default();
                translated.push(root);
                translated.push(info);
                self.set(b"PATH_TRANSLATED", translated.bytes())?;
            }
        }
        Ok(self.text(b"SCRIPT_FILENAME"))
    }

    /// As [`Self::get`], for as long as the request lasts.
    fn find(&self, name: &[u8]) -> &'static [u8] {
        bytes(self.text(name))
    }

    /// Whether the request is a message for the worker script's callback. No client can say so: its headers become
    /// `HTTP_…`.
    pub(crate) fn is_message(&self) -> bool {
        self.get(MESSAGE) == Some(b"1")
    }

    /// The time limit that the request brings along: none, or microseconds, 0 for no limit at all.
    pub(crate) fn own_limit_us(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.get(TIMEOUT_MS)?).ok()?;
        Some(text.parse::<u64>().ok()?.saturating_mul(1000))
    }

    /// The parameters as a request. `script` is the file to run.
    pub(crate) fn request(&self, script: Text) -> Request {
        let length = self.get(b"CONTENT_LENGTH").unwrap_or_default();
        let content_length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let http_1_0 = self.get(b"SERVER_PROTOCOL").is_some_and(|protocol| protocol == b"HTTP/1.0");
        Request {
            method: self.text(b"REQUEST_METHOD"),
            uri: self.text(b"REQUEST_URI"),
            query: self.text(b"QUERY_STRING"),
            content_type: self.text(b"CONTENT_TYPE"),
            script,
            cookie: self.text(b"HTTP_COOKIE"),
            authorization: self.text(b"HTTP_AUTHORIZATION"),
            php_value: self.text(b"PHP_VALUE"),
            php_admin_value: self.text(b"PHP_ADMIN_VALUE"),
            params: self.params.as_ptr(),
            params_len: self.len,
            content_length,
            protocol: if http_1_0 { 1000 } else { 1001 },
            message: i32::from(self.is_message()),
        }
    }
}

/// The bytes of a text in a store.
fn bytes(text: Text) -> &'static [u8] {
    if text.ptr.is_null() {
        return &[];
    }
    // SAFETY: texts of a store point into its mapping, which lives as long as the process; they are rewritten only by
    // `fill`, for the next request, when nobody holds one of the last.
    unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len) }
}

/// The value of a text that the engine gave, for as long as it may be read.
///
/// # Safety
/// `ptr` and `len` describe readable bytes for `'a`, or `ptr` is null.
pub(crate) unsafe fn foreign<'a>(ptr: *const c_char, len: usize) -> &'a [u8] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(ptr.cast::<u8>(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(pairs: &[(&str, &str)]) -> (Store, Result<(), DoesNotFit>) {
        let mut encoded = Vec::new();
        for (name, value) in pairs {
            params::put_pair(&mut encoded, name.as_bytes(), value.as_bytes());
        }
        let mut store = Store::new(&mut Area::new(STORE_SIZE).unwrap());
        let filled = store.fill(&encoded);
        (store, filled)
    }

    #[test]
    fn parameters_are_found_and_replaced() {
        let (mut store, filled) =
            store(&[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "12"), ("A\0B", "x")]);
        assert_eq!(filled, Ok(()));
        store.set(b"REQUEST_METHOD", b"PUT").unwrap();
        store.set(b"NEW", b"1").unwrap();
        let request = store.request(Text::ABSENT);
        assert_eq!((bytes(request.method), request.content_length, request.params_len), (&b"PUT"[..], 12, 3));
        assert_eq!(store.get(b"NEW"), Some(&b"1"[..]));
        assert_eq!(store.get(b"OLD"), None);
    }

    #[test]
    fn a_length_that_is_none_counts_as_nothing() {
        for (given, expected) in [("", 0), ("-5", -5), ("12x", 0), ("99999999999999999999", 0)] {
            let (store, _) = store(&[("CONTENT_LENGTH", given)]);
            assert_eq!(store.request(Text::ABSENT).content_length, expected, "{given}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        let names: Vec<String> = (0..=COUNT_MAX).map(|n| format!("HTTP_X{n}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(store(&pairs).1, Err(DoesNotFit));
        assert_eq!(store(&pairs[1..]).1, Ok(()));
        let long = "x".repeat(TEXT_MAX);
        assert_eq!(store(&[("A", &long)]).1, Err(DoesNotFit));
    }
}
