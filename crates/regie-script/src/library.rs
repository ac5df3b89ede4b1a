//! Libraries of functions: FUNCTION LOAD, DELETE, LIST, DUMP, RESTORE and FCALL.

use std::collections::{BTreeMap, HashMap};

use regie_resp::Encoder;

use crate::ffi::{Reference, Registered, Run, State};
use crate::text::split_arguments;
use crate::{Engine, Host, ScriptError, ScriptFlags};

/// A function that a library has registered.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name, as it was given.
    pub name: Vec<u8>,
    /// What it is for.
    pub description: Option<Vec<u8>>,
    /// What it says of itself.
    pub flags: ScriptFlags,
    reference: Reference,
}

/// A loaded library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// Its code, with the `#!` line.
    pub code: Vec<u8>,
    /// Its functions in the order of registration.
    pub functions: Vec<Function>,
}

/// What FUNCTION RESTORE does with libraries that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restore {
    /// Refuse when one has the same name.
    #[default]
    Append,
    /// Exchange those with the same name.
    Replace,
    /// Delete all.
    Flush,
}

impl Restore {
    /// Reads `append`, `replace` or `flush` in any case.
    ///
    /// # Errors
    /// Redis's words for another one.
    pub fn parse(text: &[u8]) -> Result<Self, ScriptError> {
        match &text.to_ascii_lowercase()[..] {
            b"append" => Ok(Self::Append),
            b"replace" => Ok(Self::Replace),
            b"flush" => Ok(Self::Flush),
            _ => Err(ScriptError::new(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            )),
        }
    }
}

/// Whether this may name a library or function.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Libraries by name, and their functions by name without regard to case.
#[derive(Default)]
struct Shelf {
    libraries: BTreeMap<Vec<u8>, Library>,
    functions: HashMap<Vec<u8>, Vec<u8>>,
}

impl Shelf {
    fn put(&mut self, library: Library) {
        for function in &library.functions {
            self.functions.insert(function.name.to_ascii_lowercase(), library.name.clone());
        }
        self.libraries.insert(library.name.clone(), library);
    }

    fn take(&mut self, name: &[u8]) -> Option<Library> {
        let library = self.libraries.remove(name)?;
        for function in &library.functions {
            self.functions.remove(&function.name.to_ascii_lowercase());
        }
        Some(library)
    }

    fn function(&self, name: &[u8]) -> Option<&Function> {
        let lower = name.to_ascii_lowercase();
        let library = self.libraries.get(self.functions.get(&lower)?)?;
        library.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    fn known(&self, functions: &[Function]) -> Option<ScriptError> {
        let known = |function: &&Function| self.functions.contains_key(&function.name.to_ascii_lowercase());
        let name = &functions.iter().find(known)?.name;
        Some(ScriptError::new([b"ERR Function ", &name[..], b" already exists"].concat()))
    }
}

/// The libraries and their Lua state.
pub(crate) struct Libraries {
    state: State,
    shelf: Shelf,
}

impl Libraries {
    pub(crate) fn new(state: State) -> Self {
        Self { state, shelf: Shelf::default() }
    }

    fn release(&mut self, library: &Library) {
        for function in &library.functions {
            self.state.release(function.reference);
        }
    }

    /// Runs the code of a library that is not on `shelf` yet.
    fn create(&mut self, shelf: &Shelf, code: &[u8], host: &mut dyn Host) -> Result<Library, ScriptError> {
        let (name, start) = read_head(code)?;
        let (registered, result) = self.state.load(host, &code[start..]);
        let functions = registered
            .into_iter()
            .map(|Registered { name, description, flags, reference }| Function {
                name,
                description,
                flags,
                reference,
            })
            .collect();
        let library = Library { name, code: code.to_vec(), functions };
        let refused = match result {
            Err(error) => Some(error),
            Ok(()) if library.functions.is_empty() => Some(ScriptError::new("ERR No functions registered")),
            Ok(()) => shelf.known(&library.functions),
        };
        match refused {
            None => Ok(library),
            Some(error) => {
                self.release(&library);
                Err(error)
            }
        }
    }

    fn load(
        &mut self,
        shelf: &mut Shelf,
        code: &[u8],
        replace: bool,
        host: &mut dyn Host,
    ) -> Result<Vec<u8>, ScriptError> {
        let (name, _) = read_head(code)?;
        if !replace && shelf.libraries.contains_key(&name) {
            return Err(ScriptError::new([b"ERR Library '", &name[..], b"' already exists"].concat()));
        }
        let old = shelf.take(&name);
        match self.create(shelf, code, host) {
            Ok(library) => {
                shelf.put(library);
                if let Some(old) = old {
                    self.release(&old);
                }
                Ok(name)
            }
            Err(error) => {
                if let Some(old) = old {
                    shelf.put(old);
                }
                Err(error)
            }
        }
    }

    fn restore(&mut self, payload: &[u8], policy: Restore, host: &mut dyn Host) -> Result<(), ScriptError> {
        let codes = crate::dump::read(payload)?;
        let mut new = Shelf::default();
        let mut result = Ok(());
        for code in codes {
            result = self.load(&mut new, &code, false, host).map(|_| ());
            if result.is_err() {
                break;
            }
        }
        let result = result.and_then(|()| self.join(&mut new, policy));
        for library in std::mem::take(&mut new.libraries).into_values() {
            self.release(&library);
        }
        result
    }

    /// Moves all of `new` to the shelf, or nothing.
    fn join(&mut self, new: &mut Shelf, policy: Restore) -> Result<(), ScriptError> {
        let mut old = Vec::new();
        match policy {
            Restore::Flush => old.extend(std::mem::take(&mut self.shelf).libraries.into_values()),
            Restore::Append => {
                if let Some(name) = new.libraries.keys().find(|name| self.shelf.libraries.contains_key(*name))
                {
                    return Err(ScriptError::new([b"ERR Library ", &name[..], b" already exists"].concat()));
                }
            }
            Restore::Replace => old.extend(new.libraries.keys().filter_map(|name| self.shelf.take(name))),
        }
        if let Some(error) = new.libraries.values().find_map(|library| self.shelf.known(&library.functions)) {
            for library in old {
                self.shelf.put(library);
            }
            return Err(error);
        }
        for library in std::mem::take(new).libraries.into_values() {
            self.shelf.put(library);
        }
        for library in old {
            self.release(&library);
        }
        Ok(())
    }
}

/// The name of a library, from `#!lua name=NAME`, and where its code begins.
fn read_head(code: &[u8]) -> Result<(Vec<u8>, usize), ScriptError> {
    let refuse = |words: &str| ScriptError::new(format!("ERR {words}"));
    if !code.starts_with(b"#!") {
        return Err(refuse("Missing library metadata"));
    }
    let end = code.iter().position(|&byte| byte == b'\n' || byte == 0).filter(|&end| code[end] == b'\n');
    let end = end.ok_or_else(|| refuse("Invalid library metadata"))?;
    let parts = split_arguments(&code[..end]).filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| refuse("Invalid library metadata"))?;
    let mut name: Option<&[u8]> = None;
    for part in &parts[1..] {
        let value = part.get(..5).filter(|key| key.eq_ignore_ascii_case(b"name=")).map(|_| &part[5..]);
        let Some(value) = value else {
            return Err(ScriptError::new([b"ERR Invalid metadata value given: ", &part[..]].concat()));
        };
        if name.is_some() {
            return Err(refuse("Invalid metadata value, name argument was given multiple times"));
        }
        name = Some(value);
    }
    let name = name.ok_or_else(|| refuse("Library name was not given"))?;
    if !is_name(name) {
        return Err(refuse(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    let engine = &parts[0][2..];
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(ScriptError::new([b"ERR Engine '", engine, b"' not found"].concat()));
    }
    Ok((name.to_vec(), end))
}

impl Engine {
    /// FUNCTION LOAD: runs the library's code, which registers its functions, and gives its name. While it runs,
    /// [`Host::tick`] may end it (Redis gives it 500 ms); no command can be called.
    ///
    /// # Errors
    /// Redis's words for what is wrong; then all is as before.
    pub fn load_library(
        &mut self,
        code: &[u8],
        replace: bool,
        host: &mut dyn Host,
    ) -> Result<Vec<u8>, ScriptError> {
        let (libraries, _) = self.open_libraries();
        let mut shelf = std::mem::take(&mut libraries.shelf);
        let result = libraries.load(&mut shelf, code, replace, host);
        libraries.shelf = shelf;
        result
    }

    /// FUNCTION DELETE.
    ///
    /// # Errors
    /// `ERR Library not found`
    pub fn delete_library(&mut self, name: &[u8]) -> Result<(), ScriptError> {
        let library = self.libraries.as_mut().and_then(|libraries| {
            let library = libraries.shelf.take(name)?;
            libraries.release(&library);
            Some(library)
        });
        library.map(|_| ()).ok_or_else(|| ScriptError::new("ERR Library not found"))
    }

    /// FUNCTION FLUSH.
    pub fn flush_libraries(&mut self) {
        self.libraries = None;
    }

    /// All libraries, by name.
    pub fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.libraries.iter().flat_map(|libraries| libraries.shelf.libraries.values())
    }

    /// A function, by its name in any case.
    ///
    /// # Errors
    /// `ERR Function not found`
    pub fn function(&self, name: &[u8]) -> Result<&Function, ScriptError> {
        let function = self.libraries.as_ref().and_then(|libraries| libraries.shelf.function(name));
        function.ok_or_else(|| ScriptError::new("ERR Function not found"))
    }

    /// FCALL: as [`Engine::run`], with keys and arguments as the function's parameters.
    ///
    /// # Errors
    /// As [`Engine::run`] and [`Engine::function`].
    pub fn run_function(
        &mut self,
        name: &[u8],
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        out: &mut Encoder,
    ) -> Result<(), ScriptError> {
        let function = self.function(name)?.clone();
        let run = Run { reference: function.reference, name: &function.name, keys, args };
        let (libraries, reply) = self.open_libraries();
        libraries.state.run(&run, host, reply, out)
    }

    /// FUNCTION DUMP: all libraries as Redis writes them.
    #[must_use]
    pub fn dump_libraries(&self) -> Vec<u8> {
        crate::dump::write(self.libraries().map(|library| &library.code[..]))
    }

    /// FUNCTION RESTORE of what [`Engine::dump_libraries`] or a Redis 7 gave: all of it or nothing.
    ///
    /// # Errors
    /// Redis's words for what is wrong.
    pub fn restore_libraries(
        &mut self,
        payload: &[u8],
        policy: Restore,
        host: &mut dyn Host,
    ) -> Result<(), ScriptError> {
        let (libraries, _) = self.open_libraries();
        libraries.restore(payload, policy, host)
    }

    /// Bytes that the libraries' Lua state holds (`used_memory_vm_functions` of INFO).
    #[must_use]
    pub fn libraries_memory(&self) -> usize {
        self.libraries.as_ref().map_or(0, |libraries| libraries.state.memory())
    }
}
