//! What one script costs, without sockets: `cargo run --release -p regie-script --example micro`.
//!
//! The host answers each command with what the script expects, so that the figures are the engine's own.

#![expect(clippy::disallowed_macros, reason = "a benchmark prints")]

use regie_resp::Encoder;
use regie_script::{Engine, Host, Limits, LogLevel, Replicate, Tick};

struct Fixed {
    payload: Vec<u8>,
}

impl Host for Fixed {
    fn call(&mut self, args: &[&[u8]], _: Replicate, reply: &mut Encoder) {
        match args[0] {
            b"lpop" => reply.bulk(&self.payload),
            _ => reply.integer(1),
        }
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn tick(&mut self) -> Tick {
        Tick::Continue
    }

    fn count_error(&mut self, _: &[u8]) {}
}

const POP: &str = "-- take the first job off the queue\nlocal job = redis.call('lpop', KEYS[1])\nlocal reserved = false\nif job ~= false then\n  -- count the attempt and keep it as reserved\n  reserved = cjson.decode(job)\n  reserved['attempts'] = reserved['attempts'] + 1\n  reserved = cjson.encode(reserved)\n  redis.call('zadd', KEYS[2], ARGV[1], reserved)\n  redis.call('lpop', KEYS[3])\nend\nreturn {job, reserved}\n";
const PUSH: &str = "-- add the job to its queue\nredis.call('rpush', KEYS[1], ARGV[1])\n-- and wake who waits for it\nredis.call('rpush', KEYS[2], 1)\n";

/// A job as Laravel writes it, of about `size` bytes.
fn payload(size: usize) -> Vec<u8> {
    let head = r#"{"uuid":"0b8f2f0e-7c1f-4f9a-9f36-3f6a2f0f6d0d","displayName":"App\\Jobs\\SendInvoice","job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":null,"maxExceptions":null,"failOnTimeout":false,"backoff":null,"timeout":null,"retryUntil":null,"data":{"commandName":"App\\Jobs\\SendInvoice","command":"O:20:\"App\\Jobs\\SendInvoice\":2:{s:7:\"invoice\";i:42;s:5:\"queue\";s:"#;
    let tail = r#"\";}"},"id":"Qm3vXb0yVxYwEJk8Wb0bJc7y9v0dG6rT","attempts":0}"#;
    let fill = size.saturating_sub(head.len() + tail.len() + 8);
    format!("{head}{fill}:\\\"{}{tail}", "invoice ".repeat(fill / 8 + 1).split_at(fill).0).into_bytes()
}

/// Nanoseconds that this thread has been running.
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn main() {
    let mut engine = Engine::new(Limits::default());
    let table: [(&str, &str, usize); 8] = [
        ("return 1", "return 1", 665),
        ("one call", "return redis.call('incr', KEYS[1])", 665),
        ("push", PUSH, 665),
        ("pop 665", POP, 665),
        ("pop 1024", POP, 1024),
        ("pop 8192", POP, 8192),
        ("decode 1024", "return #cjson.decode(ARGV[2])", 1024),
        ("encode+decode 1024", "return cjson.encode(cjson.decode(ARGV[2]))", 1024),
    ];
    for (name, script, size) in table {
        let mut host = Fixed { payload: payload(size) };
        let payload = host.payload.clone();
        let keys: [&[u8]; 3] = [b"queues:default", b"queues:default:reserved", b"queues:default:notify"];
        let args: [&[u8]; 2] = [b"1700000000", &payload];
        let mut out = Encoder::default();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let rounds = 20_000;
            let start = cpu_time();
            for _ in 0..rounds {
                out.bytes.clear();
                let id = engine.prepare(script.as_bytes()).expect("a script");
                engine.run(id, &keys, &args, &mut host, &mut out).expect("a result");
            }
            best = best.min((cpu_time() - start) / 1000.0 / f64::from(rounds));
        }
        println!("{name:20} {best:7.2} us   {:9.0}/s", 1e6 / best);
    }
    println!("memory {} KB", engine.memory() / 1024);
}
