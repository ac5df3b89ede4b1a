//! Content codings: which one the client takes (RFC 9110, section 12.5.3).

use http::{HeaderMap, header};

/// A coding that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
    /// Gzip.
    Gzip,
}

impl Coding {
    /// All, the most compact first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The name in `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The ending of a file that lies beside the plain one.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// How much the client likes each coding, in thousandths and in the order of [`Coding::ALL`]; 0 = not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted([u16; 3]);

impl Accepted {
    /// Reads `Accept-Encoding`. Without it nothing is accepted but the plain form.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let (mut named, mut any) = ([None; 3], 0);
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for item in lists.flat_map(|list| list.split(',')) {
            let (name, weight) = weighted(item);
            if name == "*" {
                any = weight;
            }
            let known = Coding::ALL.iter().position(|coding| {
                name.eq_ignore_ascii_case(coding.name())
                    || *coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip")
            });
            if let Some(at) = known {
                named[at] = Some(weight);
            }
        }
        Self(named.map(|weight| weight.unwrap_or(any)))
    }

    /// The coding of `offered` that the client likes best; of equals the one that stands first.
    #[must_use]
    pub fn best(self, offered: &[Coding]) -> Option<Coding> {
        let mut best: Option<(u16, Coding)> = None;
        for coding in offered {
            let weight = self.0[*coding as usize];
            if weight > 0 && best.is_none_or(|(least, _)| weight > least) {
                best = Some((weight, *coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    /// Whether nothing but the plain form is accepted.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0
    }
}

/// `gzip;q=0.5` → `gzip`, 500. A weight that cannot be read is none.
fn weighted(item: &str) -> (&str, u16) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.trim().strip_prefix("q=").or_else(|| parameters.trim().strip_prefix("Q="));
    let weight = match weight.map(|text| text.trim().parse::<f32>()) {
        None => 1_000,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 ..= 1000")]
        Some(Ok(weight)) => (weight.clamp(0.0, 1.0) * 1_000.0) as u16,
        Some(Err(_)) => 0,
    };
    (name.trim(), weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_among_what_is_there() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, there, expected) in [
            ("gzip, deflate, br, zstd", &[Brotli, Zstd, Gzip][..], Some(Brotli)),
            ("gzip, deflate, br, zstd", &[Zstd, Brotli, Gzip], Some(Zstd)),
            ("gzip, zstd;q=0.9", &[Zstd, Gzip], Some(Gzip)),
            ("gzip, deflate, br", &[Gzip], Some(Gzip)),
            ("br", &[], None),
            ("gzip;q=1.0, br;q=0.5", &[Brotli, Gzip], Some(Gzip)),
            ("gzip;q=0", &[Gzip], None),
            ("*", &[Gzip], Some(Gzip)),
            ("*;q=0, gzip", &[Gzip, Brotli], Some(Gzip)),
            ("gzip;q=0, *", &[Gzip], None),
            ("X-GZIP", &[Gzip], Some(Gzip)),
            ("identity", &[Gzip], None),
            ("gzip;q=abc", &[Gzip], None),
            ("", &[Gzip], None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(Accepted::read(&headers).best(there), expected, "{accept}");
        }
        assert!(Accepted::read(&HeaderMap::new()).is_plain());
    }
}
