//! A queue's scripts as Laravel's worker uses them, from their description: push, later, pop, migrate, release, size,
//! clear.

use regie_resp::Frame;
use regie_script::{Engine, Limits};

use crate::fake::{Fake, eval};

const PUSH: &str = "redis.call('rpush', KEYS[1], ARGV[1]) redis.call('rpush', KEYS[2], 1)";
const LATER: &str = "return redis.call('zadd', KEYS[1], ARGV[1], ARGV[2])";
const POP: &str = "
local job = redis.call('lpop', KEYS[1])
local reserved = false
if job ~= false then
  reserved = cjson.decode(job)
  reserved['attempts'] = reserved['attempts'] + 1
  reserved = cjson.encode(reserved)
  redis.call('zadd', KEYS[2], ARGV[1], reserved)
  redis.call('lpop', KEYS[3])
end
return {job, reserved}";
const MIGRATE: &str = "
local due = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if next(due) ~= nil then
  redis.call('zremrangebyrank', KEYS[1], 0, #due - 1)
  for i = 1, #due, 100 do
    redis.call('rpush', KEYS[2], unpack(due, i, math.min(i + 99, #due)))
    for j = i, math.min(i + 99, #due) do redis.call('rpush', KEYS[3], 1) end
  end
end
return due";
const RELEASE: &str =
    "redis.call('zrem', KEYS[2], ARGV[1]) redis.call('zadd', KEYS[1], ARGV[2], ARGV[1]) return true";
const SIZE: &str =
    "return redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])";
const CLEAR: &str = "
local size = redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])
redis.call('del', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return size";

const QUEUE: &str = "queues:default";
const DELAYED: &str = "queues:default:delayed";
const RESERVED: &str = "queues:default:reserved";
const NOTIFY: &str = "queues:default:notify";

struct Queue {
    engine: Engine,
    host: Fake,
}

impl Queue {
    fn run(&mut self, script: &str, keys: &[&str], args: &[&str]) -> Frame {
        eval(&mut self.engine, &mut self.host, script, keys, args).unwrap()
    }

    fn size(&mut self) -> Frame {
        self.run(SIZE, &[QUEUE, DELAYED, RESERVED], &[])
    }

    fn pop(&mut self, until: &str) -> (Frame, Frame) {
        let Frame::Array(pair) = self.run(POP, &[QUEUE, RESERVED, NOTIFY], &[until]) else {
            panic!("not a pair")
        };
        (pair[0].clone(), pair[1].clone())
    }
}

fn bulk(text: &str) -> Frame {
    Frame::Bulk(text.as_bytes().to_vec())
}

#[test]
fn the_life_of_a_job() {
    let mut queue = Queue { engine: Engine::new(Limits::default()), host: Fake::default() };
    let job = r#"{"attempts":0,"data":{"tags":[],"path":"a\/b"}}"#;
    assert_eq!(queue.pop("90"), (Frame::Null, Frame::Null), "an empty queue");
    queue.run(PUSH, &[QUEUE, NOTIFY], &[job]);
    assert_eq!(queue.size(), Frame::Integer(1));
    let (original, Frame::Bulk(reserved)) = queue.pop("90") else { panic!("no job") };
    assert_eq!(original, bulk(job));
    // The empty list has become an object, as in Redis.
    let reserved = String::from_utf8(reserved).unwrap();
    for part in [r#""attempts":1"#, r#""tags":{}"#, r#""path":"a\/b""#] {
        assert!(reserved.contains(part), "{reserved}");
    }
    assert_eq!(queue.host.sorted[RESERVED.as_bytes()][reserved.as_bytes()], 90);
    assert!(queue.host.lists[NOTIFY.as_bytes()].is_empty());
    queue.run(RELEASE, &[DELAYED, RESERVED], &[&reserved, "100"]);
    assert_eq!(queue.run(MIGRATE, &[DELAYED, QUEUE, NOTIFY], &["99", "-1"]), Frame::Array(vec![]));
    assert_eq!(
        queue.run(MIGRATE, &[DELAYED, QUEUE, NOTIFY], &["100", "-1"]),
        Frame::Array(vec![bulk(&reserved)])
    );
    let (_, Frame::Bulk(again)) = queue.pop("200") else { panic!("no job") };
    assert!(String::from_utf8(again).unwrap().contains(r#""attempts":2"#));
    assert_eq!(queue.run(CLEAR, &[QUEUE, DELAYED, RESERVED, NOTIFY], &[]), Frame::Integer(1));
    assert_eq!(queue.size(), Frame::Integer(0));
}

#[test]
fn many_delayed_jobs_move_at_once() {
    let mut queue = Queue { engine: Engine::new(Limits::default()), host: Fake::default() };
    for number in 0..1_234 {
        queue.run(LATER, &[DELAYED], &[&number.to_string(), &format!("{{\"id\":{number},\"attempts\":0}}")]);
    }
    let Frame::Array(moved) = queue.run(MIGRATE, &[DELAYED, QUEUE, NOTIFY], &["999", "-1"]) else {
        panic!("no list")
    };
    assert_eq!(moved.len(), 1_000);
    assert_eq!(queue.host.lists[QUEUE.as_bytes()].len(), 1_000);
    assert_eq!(queue.host.lists[NOTIFY.as_bytes()].len(), 1_000);
    assert_eq!(queue.size(), Frame::Integer(1_234));
}
