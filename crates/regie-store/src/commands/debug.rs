//! DEBUG, for test suites.

use crate::context::{Ctx, integer, is};
use crate::failure::{NO_KEY, Outcome, shown};

pub(crate) fn debug(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let word = args[1];
    match () {
        () if is(word, "SLEEP") && args.len() == 3 => {
            let seconds = crate::context::float(args[2])?;
            ctx.engine.effects.sleep_us += (seconds.max(0.0) * 1e6) as u64;
            ctx.out.ok();
        }
        () if is(word, "SET-ACTIVE-EXPIRE") && args.len() == 3 => {
            ctx.engine.active_expiry = args[2] == b"1";
            ctx.out.ok();
        }
        () if is(word, "JMAP") || is(word, "QUICKLIST-PACKED-THRESHOLD") || is(word, "PAUSE-CRON") => {
            ctx.out.ok();
        }
        () if is(word, "STRINGMATCH-LEN") || is(word, "REPLYBUFFER") || is(word, "CHANGE-REPL-ID") => {
            ctx.out.ok();
        }
        () if is(word, "OBJECT") && args.len() >= 3 => {
            let entry = ctx.peek(args[2]).ok_or(NO_KEY)?;
            let text = format!(
                "Value at:0x0 refcount:1 encoding:{} serializedlength:1 lru:{} lru_seconds_idle:0",
                entry.value.encoding(),
                entry.access.get()
            );
            ctx.out.simple(&text);
        }
        () if is(word, "POPULATE") && args.len() >= 3 => {
            let count = integer(args[2])?;
            let prefix = args.get(3).copied().unwrap_or(b"key");
            let size = args.get(4).map_or(Ok(0), |size| integer(size))?.max(0) as usize;
            for number in 0..count.max(0) {
                let key = [prefix, b":", number.to_string().as_bytes()].concat();
                if !ctx.exists(&key) {
                    let mut text = format!("value:{number}").into_bytes();
                    if size > 0 {
                        text.resize(size, 0);
                    }
                    ctx.insert(&key, crate::value::Value::text(&text));
                    ctx.changed_silently(&key);
                }
            }
            ctx.out.ok();
        }
        () if is(word, "RELOAD") || is(word, "LOADAOF") => {
            ctx.engine.reload()?;
            ctx.out.ok();
        }
        () => {
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                shown(word)
            );
            return Err(text.into());
        }
    }
    Ok(())
}
