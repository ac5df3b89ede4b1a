//! Scripts: compiled once, found by body or SHA-1, run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use regie_resp::Encoder;

use crate::ffi::{Kind, Random, Reference, Run, State};
use crate::library::Libraries;
use crate::native::{Native, Workshop};
use crate::{Host, ScriptError, ScriptFlags, Sha, sha1};

/// Every bound of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the scripts' state may hold, and again the libraries' one. Past it a script gets Lua's error `not
    /// enough memory`. Redis has no such bound.
    pub memory: usize,
    /// How many bodies that came with EVAL are kept. Past it, those not used for longest go. SCRIPT LOAD keeps its own
    /// until SCRIPT FLUSH. Redis 7.0 keeps all, Redis 7.4 keeps 500.
    pub eval_scripts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 1 << 30, eval_scripts: 5_000 }
    }
}

/// A script of an [`Engine`]. Not valid any more once the script has gone, by SCRIPT FLUSH or by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptId {
    place: u32,
    generation: u32,
}

/// A compiled script.
#[derive(Debug)]
pub struct Script {
    /// The SHA-1 of its body.
    pub sha: Sha,
    /// What it says of itself.
    pub flags: ScriptFlags,
    /// The body.
    pub body: Arc<[u8]>,
    name: [u8; 40],
    native: Option<Native>,
    reference: Reference,
    /// SCRIPT LOAD has been asked for it.
    loaded: bool,
    last_used: u64,
}

struct Slot {
    generation: u32,
    script: Option<Script>,
}

/// Scripts and libraries with their two Lua states.
pub struct Engine {
    limits: Limits,
    random: Random,
    state: State,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_body: HashMap<Arc<[u8]>, ScriptId, RandomState>,
    by_sha: HashMap<Sha, ScriptId, RandomState>,
    /// Counts uses, as the age of scripts.
    uses: u64,
    /// How many scripts are not `loaded`.
    evictable: usize,
    /// Replies of commands pass through it.
    pub(crate) reply: Encoder,
    workshop: Workshop,
    pub(crate) libraries: Option<Libraries>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("limits", &self.limits)
            .field("scripts", &self.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without scripts.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let random = Random::new();
        Self {
            limits,
            state: State::open(Kind::Eval, limits.memory, random.clone()),
            random,
            slots: Vec::new(),
            free: Vec::new(),
            by_body: HashMap::default(),
            by_sha: HashMap::default(),
            uses: 0,
            evictable: 0,
            reply: Encoder::default(),
            workshop: Workshop::default(),
            libraries: None,
        }
    }

    /// EVAL's first half: the script with this body, compiled when it is new.
    ///
    /// # Errors
    /// `ERR Error compiling script (new function): …`, or what is wrong with its `#!` line.
    pub fn prepare(&mut self, body: &[u8]) -> Result<ScriptId, ScriptError> {
        if let Some(&id) = self.by_body.get(body) {
            self.touch(id);
            return Ok(id);
        }
        self.compile(body, false)
    }

    /// SCRIPT LOAD: as [`Engine::prepare`], and the script stays until SCRIPT FLUSH.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub fn load(&mut self, body: &[u8]) -> Result<ScriptId, ScriptError> {
        let Some(&id) = self.by_body.get(body) else { return self.compile(body, true) };
        if let Some(script) = self.slots[id.place as usize].script.as_mut()
            && !script.loaded
        {
            script.loaded = true;
            self.evictable -= 1;
        }
        Ok(id)
    }

    /// EVALSHA's first half, SCRIPT EXISTS: the script of 40 hexadecimal digits.
    pub fn find(&mut self, digits: &[u8]) -> Option<ScriptId> {
        let id = *self.by_sha.get(&Sha::parse(digits)?)?;
        self.touch(id);
        Some(id)
    }

    /// The script, if it is still there.
    #[must_use]
    pub fn script(&self, id: ScriptId) -> Option<&Script> {
        self.slots.get(id.place as usize).filter(|slot| slot.generation == id.generation)?.script.as_ref()
    }

    /// The second half of EVAL and EVALSHA: runs it and appends one reply in `out.version`. After an error `out` is as
    /// it was.
    ///
    /// # Errors
    /// What the script raised, with its place: `… script: SHA, on @user_script:LINE.`
    pub fn run(
        &mut self,
        id: ScriptId,
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        out: &mut Encoder,
    ) -> Result<(), ScriptError> {
        let slot = self.slots.get(id.place as usize).filter(|slot| slot.generation == id.generation);
        let Some(script) = slot.and_then(|slot| slot.script.as_ref()) else {
            return Err(ScriptError::no_script());
        };
        let run = Run { reference: script.reference, name: &script.name, keys, args };
        // cjson as it was opened: a script may have set its options.
        let replay = match (script.native.filter(|_| self.state.json_is_plain()), keys, args) {
            (Some(Native::Pop), &[list, reserved, notify], &[until]) => {
                self.workshop.pop([list, reserved, notify], until, host, out)
            }
            (Some(Native::Lease), &[list, reserved, notify], &[score, count]) => {
                self.workshop.lease([list, reserved, notify], [score, count], host, out)
            }
            _ => return self.state.run(&run, host, &mut self.reply, out),
        };
        match replay {
            None => Ok(()),
            Some(mut replay) => self.state.run(&run, &mut replay, &mut self.reply, out),
        }
    }

    /// SCRIPT FLUSH: all scripts go, and all that they have set.
    pub fn flush(&mut self) {
        self.state = State::open(Kind::Eval, self.limits.memory, self.random.clone());
        self.by_body.clear();
        self.by_sha.clear();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.script.take().is_some() {
                slot.generation += 1;
                self.free.push(place as u32);
            }
        }
        self.evictable = 0;
    }

    /// All scripts.
    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        self.slots.iter().filter_map(|slot| slot.script.as_ref())
    }

    /// How many scripts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_sha.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_sha.is_empty()
    }

    /// Bytes that the scripts' Lua state holds (`used_memory_vm_eval` of INFO).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.state.memory()
    }

    pub(crate) fn open_libraries(&mut self) -> (&mut Libraries, &mut Encoder) {
        let (limits, random) = (self.limits, &self.random);
        let open = || Libraries::new(State::open(Kind::Functions, limits.memory, random.clone()));
        (self.libraries.get_or_insert_with(open), &mut self.reply)
    }

    fn touch(&mut self, id: ScriptId) {
        self.uses += 1;
        if let Some(script) = self.slots[id.place as usize].script.as_mut() {
            script.last_used = self.uses;
        }
    }

    fn compile(&mut self, body: &[u8], loaded: bool) -> Result<ScriptId, ScriptError> {
        let (flags, start) = ScriptFlags::of_body(body)?;
        let reference = self.state.compile(&body[start..]).map_err(|words| {
            ScriptError::new([b"ERR Error compiling script (new function): ", &words[..]].concat())
        })?;
        self.evict();
        let body: Arc<[u8]> = body.into();
        let sha = sha1(&body);
        self.uses += 1;
        let script = Script {
            sha,
            flags,
            body: body.clone(),
            name: sha.hex(),
            native: Native::of(&sha),
            reference,
            loaded,
            last_used: self.uses,
        };
        let id = self.place(script);
        self.by_body.insert(body, id);
        self.by_sha.insert(sha, id);
        self.evictable += usize::from(!loaded);
        Ok(id)
    }

    fn place(&mut self, script: Script) -> ScriptId {
        if let Some(place) = self.free.pop() {
            let slot = &mut self.slots[place as usize];
            slot.script = Some(script);
            return ScriptId { place, generation: slot.generation };
        }
        self.slots.push(Slot { generation: 0, script: Some(script) });
        ScriptId { place: self.slots.len() as u32 - 1, generation: 0 }
    }

    /// Makes room: an eighth of the bodies that came with EVAL goes when there are too many, so that the search for the
    /// oldest is paid once for many.
    fn evict(&mut self) {
        if self.evictable < self.limits.eval_scripts.max(1) {
            return;
        }
        let mut ages: Vec<_> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(place, slot)| {
                Some((place, slot.script.as_ref().filter(|script| !script.loaded)?.last_used))
            })
            .collect();
        ages.sort_unstable_by_key(|&(_, last_used)| last_used);
        ages.truncate(ages.len().div_ceil(8));
        for (place, _) in ages {
            let slot = &mut self.slots[place];
            let Some(script) = slot.script.take() else { continue };
            slot.generation += 1;
            self.free.push(place as u32);
            self.by_body.remove(&script.body);
            self.by_sha.remove(&script.sha);
            self.state.release(script.reference);
            self.evictable -= 1;
        }
    }
}
