//! The scripts and libraries that the engine keeps.

use super::busy::Running;
use regie_script::{Engine as Lua, Limits};

/// Sizes and counts, for INFO and the account of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Bytes that EVAL's Lua holds.
    pub(crate) eval_memory: usize,
    /// Bytes that the libraries' Lua holds.
    pub(crate) functions_memory: usize,
    pub(crate) scripts: usize,
    pub(crate) libraries: usize,
    pub(crate) functions: usize,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    /// Opened at the first need; not here while a script runs.
    lua: Option<Box<Lua>>,
    /// As they were when the running script began.
    figures: Figures,
    /// The script that runs.
    pub(crate) running: Option<Running>,
    /// Memory was short when the current command began.
    pub(crate) out_of_memory: bool,
}

impl Scripts {
    /// For everything but running.
    pub(crate) fn lua(&mut self) -> &mut Lua {
        debug_assert!(self.running.is_none(), "scripts do not manage scripts");
        self.lua.get_or_insert_with(|| Box::new(Lua::new(Limits::default())))
    }

    /// If there is one and it is not running.
    pub(crate) fn idle_lua(&mut self) -> Option<&mut Lua> {
        self.lua.as_deref_mut()
    }

    /// For running a script; to be given back with [`Scripts::end`].
    pub(crate) fn begin(&mut self, running: Running) -> Box<Lua> {
        let lua = self.lua.take().unwrap_or_else(|| Box::new(Lua::new(Limits::default())));
        self.figures = figures(&lua);
        self.running = Some(running);
        lua
    }

    /// Takes it out as it is; to be given back with [`Scripts::end`].
    pub(crate) fn take_idle(&mut self) -> Option<Box<Lua>> {
        self.lua.take()
    }

    pub(crate) fn end(&mut self, lua: Box<Lua>) {
        self.lua = Some(lua);
        self.running = None;
    }

    /// Forgets all scripts, and the globals they ran with.
    pub(crate) fn flush(&mut self) {
        if let Some(lua) = self.idle_lua() {
            lua.flush();
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        self.lua.as_deref().map_or(self.figures, figures)
    }

    /// Bytes that scripts hold.
    pub(crate) fn memory(&self) -> usize {
        let figures = self.figures();
        figures.eval_memory + figures.functions_memory
    }

    /// The code of every library.
    pub(crate) fn library_codes(&self) -> impl Iterator<Item = &[u8]> {
        self.lua.iter().flat_map(|lua| lua.libraries()).map(|library| &library.code[..])
    }
}

fn figures(lua: &Lua) -> Figures {
    Figures {
        eval_memory: lua.memory(),
        functions_memory: lua.libraries_memory(),
        scripts: lua.len(),
        libraries: lua.libraries().count(),
        functions: lua.libraries().map(|library| library.functions.len()).sum(),
    }
}
