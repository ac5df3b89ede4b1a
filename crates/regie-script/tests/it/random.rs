//! Seeded random values through cjson, cmsgpack and struct on both sides. A failure names its seed and round.

use regie_resp::Version;

use crate::differential::Pair;

/// xorshift64*: enough for tests, the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn pick<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len() as u64) as usize]
    }

    fn bytes(&mut self, longest: u64) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A JSON text, mostly right.
fn json(random: &mut Random, depth: u32, out: &mut Vec<u8>) {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => out.extend_from_slice(random.pick(&[b"true", b"false", b"null"])),
        1 => out.extend_from_slice((random.next() as i64 >> random.below(64)).to_string().as_bytes()),
        2 => number(random, out),
        3..6 => string(random, out),
        6 => {
            out.push(b'[');
            for i in 0..random.below(7) {
                if i > 0 {
                    out.push(b',');
                }
                json(random, depth - 1, out);
            }
            out.push(b']');
        }
        _ => {
            out.push(b'{');
            for i in 0..random.below(20) {
                if i > 0 {
                    out.extend_from_slice(random.pick(&[b",", b", ", b" ,\n\t"]));
                }
                string(random, out);
                out.extend_from_slice(random.pick(&[b":", b": ", b" :"]));
                json(random, depth - 1, out);
            }
            out.push(b'}');
        }
    }
}

fn number(random: &mut Random, out: &mut Vec<u8>) {
    let text = match random.below(6) {
        0 => format!("{:e}", f64::from_bits(random.next())),
        1 => format!("{}.{}", random.below(1_000_000), random.below(1_000_000_000)),
        2 => format!("-{}.{:03}", random.below(100), random.below(1000)),
        3 => format!("{}e{}", random.below(1000), random.below(40) as i64 - 20),
        4 => format!("0.{:018}", random.below(1 << 53)),
        _ => format!("{}{}", random.next(), random.next()),
    };
    out.extend_from_slice(text.replace("inf", "1").replace("NaN", "2").as_bytes());
}

fn string(random: &mut Random, out: &mut Vec<u8>) {
    let pieces: [&[u8]; 20] = [
        b"a",
        b"key",
        b"uuid",
        b"displayName",
        b"App\\\\Jobs\\\\Send",
        b"\\/",
        b"/",
        b"\\\"",
        b"\\n",
        b"\\u00e9",
        b"\\u0001",
        b"\\uD83D\\uDE00",
        "é".as_bytes(),
        b"\xff",
        b"\x7f",
        b"\x1f",
        b"O:14:",
        b"s:3:\\\"abc\\\";",
        b" ",
        b"a run of plain text that is longer than sixteen bytes",
    ];
    out.push(b'"');
    for _ in 0..random.below(8) {
        out.extend_from_slice(random.pick(&pieces));
    }
    out.push(b'"');
}

fn damage(random: &mut Random, text: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    let at = random.below(text.len() as u64) as usize;
    match random.below(3) {
        0 => text[at] = b"{}[],:\"\\\0x-e"[random.below(12) as usize],
        1 => text.truncate(at),
        _ => drop(text.remove(at)),
    }
}

/// Runs `script` on both sides with `count` arguments per round.
fn compare(seed: u64, rounds: u64, script: &str, mut argument: impl FnMut(&mut Random) -> Vec<u8>) {
    let mut pair = Pair::start();
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let args: Vec<Vec<u8>> = (0..40).map(|_| argument(&mut random)).collect();
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let theirs = pair.theirs(Version::Two, script.as_bytes(), &[], &args);
        let ours = pair.ours(Version::Two, script.as_bytes(), &[], &args);
        if theirs == ours {
            continue;
        }
        for arg in &args {
            if let Some(difference) = pair.difference(Version::Two, script.as_bytes(), &[], &[arg]) {
                panic!(
                    "seed {seed}, round {round}, argument {:?}:\n{difference}",
                    String::from_utf8_lossy(arg)
                );
            }
        }
        panic!("seed {seed}, round {round}: only all together differ");
    }
}

/// What was read back is shown with all of its digits.
const SHOW: &str = "
local function show(v)
  if type(v) == 'number' then return string.format('%.17g', v) end
  if type(v) ~= 'table' then return tostring(v) == tostring(cjson.null) and 'null' or tostring(v) end
  local r, by_address = {}, false
  for k, w in pairs(v) do
    r[#r + 1] = show(k) .. '=' .. show(w)
    by_address = by_address or type(k) == 'table'
  end
  if by_address then table.sort(r) end
  return '{' .. table.concat(r, ';') .. '}'
end
";

#[test]
fn json_texts() {
    let script = format!(
        "{SHOW}
        local r = {{}}
        for i, text in ipairs(ARGV) do
          local ok, v = pcall(cjson.decode, text)
          if ok then
            r[#r + 1] = show(v)
            local fine, back = pcall(cjson.encode, v)
            r[#r + 1] = tostring(back)
          else r[#r + 1] = v end
        end
        return r"
    );
    compare(1, 60, &script, |random| {
        let mut text = Vec::new();
        json(random, 4, &mut text);
        for _ in 0..random.below(3).saturating_sub(1) {
            damage(random, &mut text);
        }
        text
    });
}

#[test]
fn numbers_of_any_bits() {
    let script = "
        local r = {}
        for i, bits in ipairs(ARGV) do
          local v = struct.unpack('d', bits)
          local ok, text = pcall(cjson.encode, v)
          r[#r + 1] = tostring(text)
          r[#r + 1] = cmsgpack.pack(v)
          r[#r + 1] = tostring(v)
          r[#r + 1] = v
          r[#r + 1] = {double = v}
          r[#r + 1] = redis.call('echo', v)
          r[#r + 1] = bit.tobit(v)
        end
        return r";
    compare(2, 40, script, |random| {
        let number = match random.below(4) {
            0 => f64::from_bits(random.next()),
            1 => (random.next() as i64 >> random.below(64)) as f64,
            2 => (random.next() as i64 >> random.below(64)) as f64 / 1000.0,
            _ => random.below(1000) as f64 / 8.0,
        };
        // The sign and payload of a NaN are the machine's own affair.
        if number.is_nan() { 1.5f64 } else { number }.to_le_bytes().to_vec()
    });
}

#[test]
fn packed_bytes() {
    let script = format!(
        "{SHOW}
        local r = {{}}
        for i, text in ipairs(ARGV) do
          local got = {{pcall(cmsgpack.unpack, text)}}
          r[#r + 1] = show(got)
          if got[1] and #got > 1 then r[#r + 1] = cmsgpack.pack(unpack(got)) end
          r[#r + 1] = show({{pcall(cmsgpack.unpack_one, text, #text % 5)}})
          r[#r + 1] = show({{pcall(cmsgpack.unpack_limit, text, 2, 1)}})
          r[#r + 1] = show({{pcall(struct.unpack, '>I2c3bs', text)}})
          r[#r + 1] = show({{pcall(struct.unpack, '<i3Bc0', text)}})
        end
        return r"
    );
    compare(3, 60, &script, |random| {
        let heads: [&[u8]; 16] = [
            b"\x93",
            b"\x82",
            b"\xa3",
            b"\xc0",
            b"\xc2",
            b"\xc3",
            b"\xca",
            b"\xcb",
            b"\xcc",
            b"\xcd",
            b"\xce",
            b"\xd0",
            b"\xd1",
            b"\xd2",
            b"\xd9\x02",
            b"\xdc\x00\x03",
        ];
        let mut text = Vec::new();
        for _ in 0..random.below(6) {
            text.extend_from_slice(random.pick(&heads));
            let tail = random.bytes(9);
            text.extend_from_slice(&tail);
        }
        text
    });
}

#[test]
fn packed_values() {
    let script = "
        local r = {}
        for i, text in ipairs(ARGV) do
          local ok, v = pcall(cjson.decode, text)
          if ok then
            local packed = cmsgpack.pack(v, i)
            r[#r + 1] = packed
            local fine, back = pcall(cmsgpack.unpack, packed)
            r[#r + 1] = fine and cmsgpack.pack(back) or back
          end
        end
        return r";
    compare(4, 40, script, |random| {
        let mut text = Vec::new();
        json(random, 5, &mut text);
        text
    });
}

/// Tables that are built and torn down in random order: the order of `pairs`, and so of the keys in JSON, must stay.
/// Only keys that are numbers go: where a string comes back to depends on whether the collector has met it meanwhile.
#[test]
fn order_of_keys() {
    let script = "
        local t = {}
        for op, name in string.gmatch(ARGV[1], '(.)([^;]*);') do
          local key = tonumber(name) or name
          if op == '+' then t[key] = #name elseif op == '-' then t[key] = nil end
        end
        local c, r = cjson.new(), {}
        c.encode_sparse_array(true)
        for k in pairs(t) do r[#r + 1] = tostring(k) end
        return {c.encode(t), r, #t}";
    let mut pair = Pair::start();
    let mut random = Random::new(5);
    for round in 0..400 {
        let mut operations = String::new();
        for _ in 0..random.below(120) {
            let kind = random.below(4);
            let key = match kind {
                0 => random.below(30).to_string(),
                1 => format!("{}.5", random.below(30)),
                2 => "long ".repeat(random.below(40) as usize),
                _ => format!("k{}", random.below(60)),
            };
            operations
                .push_str(&format!("{}{key};", if kind < 2 && random.below(3) == 0 { '-' } else { '+' }));
        }
        let difference = pair.difference(Version::Two, script.as_bytes(), &[], &[operations.as_bytes()]);
        assert_eq!(difference, None, "seed 5, round {round}");
    }
}
