//! Numbers in arguments, as strictly or loosely as Redis reads them.

pub(crate) use regie_resp::{format_double, parse_integer, write_integer};

/// A double as `strtod` reads it: `inf`, hexadecimal and exponents are fine, spaces and `nan` are not.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    // Most are small whole numbers, which need no rounding.
    if text.len() < 16
        && let Some(whole) = parse_integer(text)
    {
        return Some(whole as f64);
    }
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || text.starts_with(char::is_whitespace) {
        return None;
    }
    let body = text.trim_start_matches(['+', '-']);
    if text.len() - body.len() > 1 {
        return None;
    }
    let value = match body.get(..2) {
        Some("0x" | "0X") => {
            let magnitude = u64::from_str_radix(&body[2..], 16).ok()? as f64;
            if text.starts_with('-') { -magnitude } else { magnitude }
        }
        _ => text.parse::<f64>().ok()?,
    };
    if value.is_nan() || (value.is_infinite() && !body.get(..3)?.eq_ignore_ascii_case("inf")) {
        return None;
    }
    Some(value)
}

/// A decimal number with up to 17 places, for INCRBYFLOAT: Redis adds in 80 bits, so 0.1 + 0.2 is 0.3 there; exact
/// decimal arithmetic gives the same. Numbers out of its range are added as doubles.
pub(crate) fn add_decimal(left: &[u8], right: &[u8]) -> Option<String> {
    let (a, b) = (parse_double(left)?, parse_double(right)?);
    if let (Some(x), Some(y)) = (fixed(left), fixed(right))
        && let Some(sum) = x.checked_add(y)
    {
        return Some(print_fixed(sum));
    }
    let sum = a + b;
    if !sum.is_finite() {
        return None;
    }
    Some(if sum.abs() < 1e-17 { "0".to_owned() } else { trim(&format!("{sum}")) })
}

const SCALE: i128 = 100_000_000_000_000_000;

/// `text` times 10^17; `None` when it has an exponent beyond reach or more places.
fn fixed(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches(['+', '-']);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() > 36 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let shift = 17 + exponent - fraction.len() as i32;
    let value = if shift >= 0 {
        digits.checked_mul(10i128.checked_pow(shift as u32)?)?
    } else {
        let divisor = 10i128.checked_pow(shift.unsigned_abs())?;
        if digits % divisor != 0 {
            return None;
        }
        digits / divisor
    };
    // Eighty-bit floats carry about 19 digits; beyond that exactness would be a difference, not a virtue.
    (value.abs() < 10i128.pow(36)).then_some(if negative { -value } else { value })
}

fn print_fixed(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    trim(&format!("{sign}{}.{:017}", value / SCALE as u128, value % SCALE as u128))
}

fn trim(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_added_exactly() {
        for (a, b, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("1", "-1.5", "-0.5"),
        ] {
            assert_eq!(add_decimal(a.as_bytes(), b.as_bytes()).as_deref(), Some(sum));
        }
        assert_eq!(add_decimal(b"inf", b"1"), None);
        assert_eq!(add_decimal(b"x", b"1"), None);
    }

    #[test]
    fn doubles_are_read_as_strtod_does() {
        for (text, expect) in [
            ("1.5", Some(1.5)),
            ("+1", Some(1.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("0x10", Some(16.0)),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e400", None),
            ("abc", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), expect, "{text:?}");
        }
    }
}
