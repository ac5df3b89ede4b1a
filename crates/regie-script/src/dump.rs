//! What FUNCTION DUMP gives: each library's code after opcode 245, RDB version 10, CRC-64.

use crate::ScriptError;

const FUNCTION: u8 = 245;
const RDB_VERSION: u16 = 10;
/// The newest version that Redis 7.0 reads.
const NEWEST_VERSION: u16 = 10;

/// The payload of these codes.
pub(crate) fn write<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for code in codes {
        payload.push(FUNCTION);
        write_length(&mut payload, code.len());
        payload.extend_from_slice(code);
    }
    payload.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let check = crc64(&payload);
    payload.extend_from_slice(&check.to_le_bytes());
    payload
}

fn write_length(payload: &mut Vec<u8>, length: usize) {
    match length {
        0..64 => payload.push(length as u8),
        64..16_384 => payload.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        _ => match u32::try_from(length) {
            Ok(length) => {
                payload.push(0x80);
                payload.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                payload.push(0x81);
                payload.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
}

/// The codes in a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Vec<Vec<u8>>, ScriptError> {
    let wrong = || ScriptError::new("ERR DUMP payload version or checksum are wrong");
    let (body, foot) = payload.split_last_chunk::<10>().ok_or_else(wrong)?;
    let version = u16::from_le_bytes([foot[0], foot[1]]);
    let check = u64::from_le_bytes(foot[2..].try_into().map_err(|_| wrong())?);
    if version > NEWEST_VERSION || (check != 0 && check != crc64(&payload[..body.len() + 2])) {
        return Err(wrong());
    }
    let mut codes = Vec::new();
    let mut rest = body;
    while let Some((&kind, after)) = rest.split_first() {
        if kind != FUNCTION {
            return Err(ScriptError::new("ERR given type is not a function"));
        }
        rest = after;
        let code = read_string(&mut rest);
        codes.push(code.ok_or_else(|| ScriptError::new("ERR Failed loading library payload"))?);
    }
    Ok(codes)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

/// A length, or the kind of a string that is encoded.
fn read_length(rest: &mut &[u8]) -> Option<Result<usize, u8>> {
    let first = take(rest, 1)?[0];
    Some(match first >> 6 {
        0 => Ok(usize::from(first & 63)),
        1 => Ok(usize::from(first & 63) << 8 | usize::from(take(rest, 1)?[0])),
        2 if first == 0x80 => Ok(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?) as usize),
        2 if first == 0x81 => Ok(usize::try_from(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?)).ok()?),
        3 => Err(first & 63),
        _ => return None,
    })
}

fn read_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    match read_length(rest)? {
        Ok(length) => take(rest, length).map(<[u8]>::to_vec),
        Err(3) => {
            let packed = read_length(rest)?.ok()?;
            let length = read_length(rest)?.ok()?;
            unpack(take(rest, packed)?, length)
        }
        // A string that is a number is no code.
        Err(_) => None,
    }
}

/// LZF, as liblzf packs it.
fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    // A packed byte gives at most 88 bytes (3 for 264).
    if length > packed.len().saturating_mul(88) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = packed;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        let control = usize::from(control);
        if control < 32 {
            out.extend_from_slice(take(&mut rest, control + 1)?);
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            count += usize::from(take(&mut rest, 1)?[0]);
        }
        let back = (control & 31) << 8 | usize::from(take(&mut rest, 1)?[0]);
        let start = out.len().checked_sub(back + 1)?;
        for at in start..start + count + 2 {
            out.push(out[at]);
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

/// CRC-64 with the polynomial of Jones, reflected, as Redis uses it.
fn crc64(data: &[u8]) -> u64 {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u64;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0x95AC_9329_AC4B_C9B5 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    data.iter().fold(0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn what_was_written_is_read() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
            let code = vec![b'x'; length];
            assert_eq!(
                read(&write([&code[..], b"b"].into_iter())),
                Ok(vec![code, b"b".to_vec()]),
                "{length}"
            );
        }
    }

    #[test]
    fn packed_text() {
        assert_eq!(unpack(b"\x01ab\xe0\x03\x01", 14), Some(b"abababababababab"[..14].to_vec()));
        assert_eq!(unpack(b"\x01ab", 3), None);
        assert_eq!(unpack(b"\x20\x00", 3), None, "refers to before the beginning");
    }

    #[test]
    fn damage_is_told() {
        let good = write([&b"code"[..]].into_iter());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        assert!(read(b"short").is_err());
    }
}
