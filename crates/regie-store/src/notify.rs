//! Keyspace notifications: which classes are announced.

/// A set of classes of events (`notify-keyspace-events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Class(pub(crate) u32);

impl Class {
    pub(crate) const KEYSPACE: Self = Self(1);
    pub(crate) const KEYEVENT: Self = Self(1 << 1);
    pub(crate) const GENERIC: Self = Self(1 << 2);
    pub(crate) const STRING: Self = Self(1 << 3);
    pub(crate) const LIST: Self = Self(1 << 4);
    pub(crate) const SET: Self = Self(1 << 5);
    pub(crate) const HASH: Self = Self(1 << 6);
    pub(crate) const SORTED_SET: Self = Self(1 << 7);
    pub(crate) const EXPIRED: Self = Self(1 << 8);
    pub(crate) const EVICTED: Self = Self(1 << 9);
    pub(crate) const STREAM: Self = Self(1 << 10);
    pub(crate) const KEY_MISS: Self = Self(1 << 11);
    pub(crate) const MODULE: Self = Self(1 << 13);
    pub(crate) const NEW: Self = Self(1 << 14);
    /// What the letter `A` stands for.
    const ALL: Self = Self(0b10_0111_1111_1100);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Reads the setting's letters; `None` when one is unknown.
    pub(crate) fn parse(letters: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match letter {
                'A' => Self::ALL.0,
                _ => LETTERS.iter().find(|(l, _)| *l == letter)?.1.0,
            };
        }
        Some(Self(bits))
    }

    /// The setting's letters in Redis's order.
    pub(crate) fn letters(self) -> String {
        let mut text = String::new();
        if self.0 & Self::ALL.0 == Self::ALL.0 {
            text.push('A');
        }
        for (letter, class) in LETTERS {
            let in_all = class.0 & Self::ALL.0 != 0;
            if self.has(class) && !(in_all && text.starts_with('A')) {
                text.push(letter);
            }
        }
        text
    }
}

const LETTERS: [(char, Class); 14] = [
    ('g', Class::GENERIC),
    ('$', Class::STRING),
    ('l', Class::LIST),
    ('s', Class::SET),
    ('h', Class::HASH),
    ('z', Class::SORTED_SET),
    ('x', Class::EXPIRED),
    ('e', Class::EVICTED),
    ('t', Class::STREAM),
    ('d', Class::MODULE),
    ('K', Class::KEYSPACE),
    ('E', Class::KEYEVENT),
    ('m', Class::KEY_MISS),
    ('n', Class::NEW),
];
