//! The border to the C side: mirrors csrc/regie_lua.h line by line. The only module with unsafe code.
//!
//! What holds on both sides: a Lua error never crosses a Rust frame, since C calls back only into the leaves below, and
//! they return before any Lua goes on; a panic in a leaf ends the process (they are `extern "C"`); a state is used by
//! one thread at a time, which `&mut self` says.
#![expect(unsafe_code, reason = "the border to C")]

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use regie_resp::{Encoder, Version};

use crate::{Host, LogLevel, Replicate, ScriptError, ScriptFlags, Tick, sha1};

#[repr(C)]
#[derive(Clone, Copy)]
struct Slice<'a> {
    data: *const u8,
    length: usize,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Slice<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len(), borrowed: PhantomData }
    }

    /// # Safety
    /// `data` is null or points to `length` bytes that live for `'a`.
    unsafe fn bytes(self) -> &'a [u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: as the caller promises.
        unsafe { slice::from_raw_parts(self.data, self.length) }
    }
}

#[repr(C)]
struct HostTable {
    context: *mut c_void,
    call: unsafe extern "C" fn(*mut c_void, *const Slice<'_>, usize, c_int, c_int, *mut Slice<'_>),
    may_call: unsafe extern "C" fn(*mut c_void, *const Slice<'_>, usize) -> c_int,
    log_level: unsafe extern "C" fn(*mut c_void) -> c_int,
    log: unsafe extern "C" fn(*mut c_void, c_int, Slice<'_>),
    tick: unsafe extern "C" fn(*mut c_void) -> c_int,
    count_error: unsafe extern "C" fn(*mut c_void, Slice<'_>),
    register_function:
        unsafe extern "C" fn(*mut c_void, Slice<'_>, *const Slice<'_>, c_int, c_int) -> *const c_char,
    sha1hex: unsafe extern "C" fn(Slice<'_>, *mut u8),
}

#[repr(C)]
struct Outcome {
    failed: c_int,
    counted: c_int,
    text: Slice<'static>,
}

#[repr(C)]
struct RawState {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn rl_open(functions: c_int, memory_limit: usize, random: *mut u64) -> *mut RawState;
    fn rl_close(state: *mut RawState);
    fn rl_compile(
        state: *mut RawState,
        body: Slice<'_>,
        reference: *mut c_int,
        result: *mut Outcome,
    ) -> c_int;
    fn rl_load(state: *mut RawState, host: *const HostTable, code: Slice<'_>, result: *mut Outcome) -> c_int;
    fn rl_release(state: *mut RawState, reference: c_int);
    fn rl_run(
        state: *mut RawState,
        host: *const HostTable,
        reference: c_int,
        name: Slice<'_>,
        keys: *const Slice<'_>,
        key_count: usize,
        args: *const Slice<'_>,
        arg_count: usize,
        resp: c_int,
        result: *mut Outcome,
    );
    fn rl_memory(state: *const RawState) -> usize;
    fn rl_json_is_plain(state: *const RawState) -> c_int;
}

/// The generator of `math.random`, shared by the states of one engine.
#[derive(Clone)]
pub(crate) struct Random(Arc<UnsafeCell<u64>>);

// SAFETY: only states reach the number, they belong to one engine, and an engine is used by one thread at a time.
unsafe impl Send for Random {}

impl Random {
    pub(crate) fn new() -> Self {
        #[expect(clippy::arc_with_non_send_sync, reason = "Random says why it may be sent")]
        Self(Arc::new(UnsafeCell::new(0x1234_ABCD_330E)))
    }
}

/// What a state is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Eval,
    Functions,
}

/// A compiled script or a registered function of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference(c_int);

/// A call of `redis.register_function`.
pub(crate) struct Registered {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: ScriptFlags,
    pub(crate) reference: Reference,
}

/// A Lua state with its sandbox.
pub(crate) struct State {
    raw: NonNull<RawState>,
    /// Kept alive for the C side.
    _random: Random,
}

// SAFETY: the state belongs to no thread: it keeps no thread-local data, and all of its memory is its own.
unsafe impl Send for State {}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the state is open, and nobody uses it after this.
        unsafe { rl_close(self.raw.as_ptr()) }
    }
}

/// What the leaves get as their context.
struct Bridge<'a> {
    host: &'a mut dyn Host,
    reply: &'a mut Encoder,
    registered: Vec<Registered>,
}

impl State {
    /// `memory_limit` in bytes, 0 for none. Ends the process when there is not memory for an empty state.
    pub(crate) fn open(kind: Kind, memory_limit: usize, random: Random) -> Self {
        // SAFETY: the number outlives the state, which keeps its owner.
        let raw = unsafe { rl_open(c_int::from(kind == Kind::Functions), memory_limit, random.0.get()) };
        let raw = NonNull::new(raw).expect("memory for a Lua state");
        Self { raw, _random: random }
    }

    /// Bytes that it holds.
    pub(crate) fn memory(&self) -> usize {
        // SAFETY: the state is open.
        unsafe { rl_memory(self.raw.as_ptr()) }
    }

    /// Whether cjson's options are as they were at first.
    pub(crate) fn json_is_plain(&self) -> bool {
        // SAFETY: the state is open.
        unsafe { rl_json_is_plain(self.raw.as_ptr()) != 0 }
    }

    /// Compiles a script, or gives the compiler's words.
    pub(crate) fn compile(&mut self, body: &[u8]) -> Result<Reference, Vec<u8>> {
        let mut reference = 0;
        let mut outcome = Outcome::new();
        // SAFETY: the state is open; the places are valid for the call.
        unsafe { rl_compile(self.raw.as_ptr(), Slice::of(body), &mut reference, &mut outcome) };
        if outcome.failed == 0 { Ok(Reference(reference)) } else { Err(outcome.text().to_vec()) }
    }

    /// Runs the code of a library. What it has registered is the caller's to release, also after a failure.
    pub(crate) fn load(
        &mut self,
        host: &mut dyn Host,
        code: &[u8],
    ) -> (Vec<Registered>, Result<(), ScriptError>) {
        let mut reply = Encoder::default();
        let mut bridge = Bridge { host, reply: &mut reply, registered: Vec::new() };
        let table = bridge.table();
        let mut outcome = Outcome::new();
        // SAFETY: the state is open; table and bridge live until the call returns.
        unsafe { rl_load(self.raw.as_ptr(), &table, Slice::of(code), &mut outcome) };
        let result = outcome.check();
        (bridge.registered, result)
    }

    /// Forgets a script or function.
    pub(crate) fn release(&mut self, reference: Reference) {
        // SAFETY: the state is open, and a reference is released once.
        unsafe { rl_release(self.raw.as_ptr(), reference.0) }
    }

    /// Runs a script or function and appends its result to `out`.
    pub(crate) fn run(
        &mut self,
        run: &Run<'_>,
        host: &mut dyn Host,
        reply: &mut Encoder,
        out: &mut Encoder,
    ) -> Result<(), ScriptError> {
        let mut few = [Slice::of(&[]); 24];
        let mut many = Vec::new();
        let count = run.keys.len() + run.args.len();
        let all = run.keys.iter().chain(run.args).map(|text| Slice::of(text));
        let slices: &[Slice<'_>] = if count <= few.len() {
            for (place, slice) in few.iter_mut().zip(all) {
                *place = slice;
            }
            &few[..count]
        } else {
            many.extend(all);
            &many
        };
        let (keys, args) = slices.split_at(run.keys.len());
        let resp = if out.version == Version::Two { 2 } else { 3 };
        let mut bridge = Bridge { host, reply, registered: Vec::new() };
        let table = bridge.table();
        let mut outcome = Outcome::new();
        // SAFETY: the state is open; the reference is one of its own, as the callers keep both together; all slices,
        // the table and the bridge live until the call returns.
        unsafe {
            rl_run(
                self.raw.as_ptr(),
                &table,
                run.reference.0,
                Slice::of(run.name),
                keys.as_ptr(),
                keys.len(),
                args.as_ptr(),
                args.len(),
                resp,
                &mut outcome,
            );
        }
        outcome.check()?;
        out.bytes.extend_from_slice(outcome.text());
        Ok(())
    }
}

/// What is run.
pub(crate) struct Run<'a> {
    pub(crate) reference: Reference,
    /// What stands in error lines.
    pub(crate) name: &'a [u8],
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) args: &'a [&'a [u8]],
}

impl Outcome {
    fn new() -> Self {
        Self { failed: 0, counted: 1, text: Slice::of(&[]) }
    }

    /// What the last call wrote. Only to be read before the next call on the state: no method hands it out for longer.
    fn text(&self) -> &[u8] {
        // SAFETY: the C side keeps the text until the next call on the state, and all who ask copy it before.
        unsafe { self.text.bytes() }
    }

    fn check(&self) -> Result<(), ScriptError> {
        if self.failed == 0 {
            return Ok(());
        }
        Err(ScriptError { line: self.text().to_vec(), counted: self.counted != 0 })
    }
}

impl Bridge<'_> {
    fn table(&mut self) -> HostTable {
        HostTable {
            context: ptr::from_mut(self).cast(),
            call,
            may_call,
            log_level,
            log,
            tick,
            count_error,
            register_function,
            sha1hex,
        }
    }

    /// # Safety
    /// `context` is that of a table made by [`Bridge::table`], during the call that was given the table.
    unsafe fn of<'a>(context: *mut c_void) -> &'a mut Bridge<'a> {
        // SAFETY: as the caller promises; leaves do not nest, so there is one such reference at a time.
        unsafe { &mut *context.cast::<Bridge<'a>>() }
    }
}

/// Gives the arguments of a command as slices: on the stack for few, which is the rule.
fn with_arguments<T>(args: &[Slice<'_>], use_them: impl FnOnce(&[&[u8]]) -> T) -> T {
    // SAFETY: the C side keeps the bytes of its arguments during the call.
    let bytes = args.iter().map(|arg| unsafe { arg.bytes() });
    let mut few: [&[u8]; 12] = [&[]; 12];
    if args.len() <= few.len() {
        for (place, arg) in few.iter_mut().zip(bytes) {
            *place = arg;
        }
        return use_them(&few[..args.len()]);
    }
    use_them(&bytes.collect::<Vec<_>>())
}

unsafe extern "C" fn call(
    context: *mut c_void,
    args: *const Slice<'_>,
    count: usize,
    resp: c_int,
    replicate: c_int,
    reply: *mut Slice<'_>,
) {
    // SAFETY: C passes on its context, `count` slices and a place for the reply.
    let (bridge, args) = unsafe { (Bridge::of(context), slice::from_raw_parts(args, count)) };
    bridge.reply.bytes.clear();
    bridge.reply.version = if resp == 2 { Version::Two } else { Version::Three };
    let replicate = Replicate { append_only_file: replicate & 1 != 0, replicas: replicate & 2 != 0 };
    with_arguments(args, |args| bridge.host.call(args, replicate, bridge.reply));
    // SAFETY: the place is C's, which reads the bytes before the next command clears them.
    unsafe { (*reply).data = bridge.reply.bytes.as_ptr() };
    // SAFETY: as above.
    unsafe { (*reply).length = bridge.reply.bytes.len() };
}

unsafe extern "C" fn may_call(context: *mut c_void, args: *const Slice<'_>, count: usize) -> c_int {
    // SAFETY: C passes on its context and `count` slices.
    let (bridge, args) = unsafe { (Bridge::of(context), slice::from_raw_parts(args, count)) };
    with_arguments(args, |args| bridge.host.may_call(args)).map_or(-1, c_int::from)
}

unsafe extern "C" fn log_level(context: *mut c_void) -> c_int {
    // SAFETY: C passes on its context.
    let bridge = unsafe { Bridge::of(context) };
    bridge.host.log_level() as c_int
}

unsafe extern "C" fn log(context: *mut c_void, level: c_int, message: Slice<'_>) {
    // SAFETY: C passes on its context, and bytes that live during the call.
    let (bridge, message) = unsafe { (Bridge::of(context), message.bytes()) };
    let level = match level {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        _ => LogLevel::Warning,
    };
    bridge.host.log(level, message);
}

unsafe extern "C" fn tick(context: *mut c_void) -> c_int {
    // SAFETY: C passes on its context.
    let bridge = unsafe { Bridge::of(context) };
    c_int::from(bridge.host.tick() == Tick::Stop)
}

unsafe extern "C" fn count_error(context: *mut c_void, line: Slice<'_>) {
    // SAFETY: C passes on its context, and bytes that live during the call.
    let (bridge, line) = unsafe { (Bridge::of(context), line.bytes()) };
    bridge.host.count_error(line);
}

unsafe extern "C" fn register_function(
    context: *mut c_void,
    name: Slice<'_>,
    description: *const Slice<'_>,
    flags: c_int,
    reference: c_int,
) -> *const c_char {
    // SAFETY: C passes on its context, and a name that lives during the call.
    let (bridge, name) = unsafe { (Bridge::of(context), name.bytes()) };
    // SAFETY: null or a valid place.
    let description = unsafe { description.as_ref() };
    if !crate::library::is_name(name) {
        return c"Library names can only contain letters, numbers, or underscores(_) and must be at least one character long".as_ptr();
    }
    if bridge.registered.iter().any(|known| known.name == name) {
        return c"Function already exists in the library".as_ptr();
    }
    bridge.registered.push(Registered {
        name: name.to_vec(),
        // SAFETY: bytes that live during the call.
        description: description.map(|text| unsafe { text.bytes() }.to_vec()),
        flags: ScriptFlags::from_bits(flags),
        reference: Reference(reference),
    });
    ptr::null()
}

unsafe extern "C" fn sha1hex(text: Slice<'_>, digits: *mut u8) {
    // SAFETY: bytes that live during the call.
    let digest = sha1(unsafe { text.bytes() }).hex();
    // SAFETY: C gives room for 40 digits.
    unsafe { digits.copy_from_nonoverlapping(digest.as_ptr(), digest.len()) };
}
