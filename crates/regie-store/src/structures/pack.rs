//! Strings in a row in one allocation, for collections so small that looking through all beats a table.
//!
//! Each entry is its length (one byte, or 255 and four more) and its bytes.

use crate::blob::allocation;

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pack {
    bytes: Vec<u8>,
    length: u32,
}

/// Where one entry lies: its beginning, the beginning of its text, and its end.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    text: usize,
    end: usize,
}

impl Pack {
    pub(crate) fn len(&self) -> usize {
        self.length as usize
    }

    pub(crate) fn memory(&self) -> usize {
        allocation(self.bytes.capacity())
    }

    fn place(&self, start: usize) -> Option<Place> {
        let (length, text) = match self.bytes.get(start)? {
            255 => {
                let raw = self.bytes.get(start + 1..start + 5)?;
                (u32::from_le_bytes(raw.try_into().ok()?) as usize, start + 5)
            }
            &short => (usize::from(short), start + 1),
        };
        Some(Place { start, text, end: text + length })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let place = self.place(at)?;
            at = place.end;
            Some(&self.bytes[place.text..place.end])
        })
    }

    /// Keys with their values, when entries are pairs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut entries = self.iter();
        std::iter::from_fn(move || Some((entries.next()?, entries.next()?)))
    }

    pub(crate) fn push(&mut self, text: &[u8]) {
        encode(&mut self.bytes, text);
        self.length += 1;
    }

    fn find(&self, key: &[u8]) -> Option<(Place, Place)> {
        let mut at = 0;
        while let Some(name) = self.place(at) {
            let value = self.place(name.end)?;
            if &self.bytes[name.text..name.end] == key {
                return Some((name, value));
            }
            at = value.end;
        }
        None
    }

    /// The value of `key`, when entries are pairs.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (_, value) = self.find(key)?;
        Some(&self.bytes[value.text..value.end])
    }

    /// Sets the value of `key`; true if it is new.
    pub(crate) fn set(&mut self, key: &[u8], text: &[u8]) -> bool {
        let Some((_, value)) = self.find(key) else {
            self.push(key);
            self.push(text);
            return true;
        };
        if value.end - value.text == text.len() {
            self.bytes[value.text..value.end].copy_from_slice(text);
        } else {
            let mut entry = Vec::with_capacity(text.len() + 5);
            encode(&mut entry, text);
            self.bytes.splice(value.start..value.end, entry);
        }
        false
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((name, value)) = self.find(key) else { return false };
        self.bytes.drain(name.start..value.end);
        self.length -= 2;
        true
    }
}

fn encode(bytes: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(short) if short < 255 => bytes.push(short),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
    }
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::Pack;

    #[test]
    fn pairs_are_set_found_and_removed() {
        let mut pack = Pack::default();
        let long = vec![b'x'; 300];
        assert!(pack.set(b"a", b"1"));
        assert!(pack.set(b"b", &long));
        assert!(!pack.set(b"a", b"longer"));
        assert_eq!(pack.get(b"a"), Some(&b"longer"[..]));
        assert_eq!(pack.get(b"b"), Some(&long[..]));
        assert_eq!(pack.len(), 4);
        assert!(pack.remove(b"a"));
        assert!(!pack.remove(b"a"));
        assert_eq!(pack.pairs().count(), 1);
    }
}
