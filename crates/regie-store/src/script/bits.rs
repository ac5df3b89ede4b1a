//! `bit`: operations on 32 bits, as LuaBitOp has them.

use mlua::{Lua, Result, Table, Variadic};

/// A number as 32 bits, wrapping.
fn bits(number: f64) -> i32 {
    // Adding 2^52 + 2^51 leaves the integer's low bits in the mantissa, rounding as the original library does.
    (number + 6_755_399_441_055_744.0).to_bits() as u32 as i32
}

type Unary = fn(i32) -> i32;
type Fold = fn(i32, i32) -> i32;
type Shift = fn(i32, u32) -> i32;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let unary: [(&str, Unary); 3] = [("tobit", |x| x), ("bnot", |x| !x), ("bswap", i32::swap_bytes)];
    for (name, function) in unary {
        table.raw_set(name, lua.create_function(move |_, x: f64| Ok(f64::from(function(bits(x)))))?)?;
    }
    let folds: [(&str, Fold); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, function) in folds {
        let fold = move |_: &Lua, (first, rest): (f64, Variadic<f64>)| {
            Ok(f64::from(rest.iter().fold(bits(first), |sum, x| function(sum, bits(*x)))))
        };
        table.raw_set(name, lua.create_function(fold)?)?;
    }
    let shifts: [(&str, Shift); 5] = [
        ("lshift", |x, n| x << n),
        ("rshift", |x, n| ((x as u32) >> n) as i32),
        ("arshift", |x, n| x >> n),
        ("rol", i32::rotate_left),
        ("ror", i32::rotate_right),
    ];
    for (name, function) in shifts {
        let shift = move |_: &Lua, (x, n): (f64, f64)| Ok(f64::from(function(bits(x), bits(n) as u32 & 31)));
        table.raw_set(name, lua.create_function(shift)?)?;
    }
    let hex = |_: &Lua, (x, digits): (f64, Option<f64>)| {
        let digits = digits.map_or(8, bits);
        let count = (digits.unsigned_abs() as usize).min(8);
        let text = format!("{:08x}", bits(x) as u32);
        let text = &text[8 - count..];
        Ok(if digits < 0 { text.to_ascii_uppercase() } else { text.to_owned() })
    };
    table.raw_set("tohex", lua.create_function(hex)?)?;
    Ok(table)
}
