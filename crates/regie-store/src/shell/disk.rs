//! The files: which there are, what is written when, and how they are read at the start.
//!
//! `manifest` names the files in use: at most one snapshot and the logs that follow it, in order. Everything else in
//! the folder with such a name is left over from a crash and is deleted. A rewrite opens a new log first, walks over
//! the data as it was at that moment into a new snapshot, and then replaces the manifest by a rename: at each moment
//! the manifest names a whole picture.
//!
//! **`always`**: one write and one sync at the end of a turn of the loop, before any reply. **`everysec`**: a write at
//! the end of the turn, a sync each second on a thread of its own; when that thread is a second behind, the loop waits
//! for it, so that no more than about a second can be lost. **`no`**: the system decides. Each database may have its
//! own rule; they share the log, so the strictest rule among the databases that were written to holds.
//!
//! A write that fails refuses further writes of clients with MISCONF; it is tried again each turn, and when it
//! succeeds everything goes on. With `always` the clients of the turn that could not be written are cut off without a
//! reply, because an answer would be a promise.

use crate::config::Fsync;
use crate::effects::DiskRequest;
use crate::engine::{DiskState, Engine};
use crate::journal::{self, Broken, Frames};
use crate::session::Peer;
use crate::shell::clock;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// The first line of the manifest.
const MANIFEST_VERSION: &str = "regie-store 1";

/// Why the data could not be read at the start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("{}: {why}; nothing was changed; `regie store repair` shows what can be saved", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        why: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
    move |source| RecoveryError::File { path: path.to_owned(), source }
}

/// The files in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Manifest {
    snapshot: Option<u64>,
    logs: Vec<u64>,
}

impl Manifest {
    fn text(&self) -> String {
        let mut text = format!("{MANIFEST_VERSION}\n");
        if let Some(number) = self.snapshot {
            text.push_str(&format!("snapshot {number}\n"));
        }
        for number in &self.logs {
            text.push_str(&format!("log {number}\n"));
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(MANIFEST_VERSION) {
            return Err("written by another version".into());
        }
        let mut manifest = Self::default();
        for line in lines {
            match line.split_once(' ').and_then(|(kind, number)| Some((kind, number.parse::<u64>().ok()?))) {
                Some(("snapshot", number)) => manifest.snapshot = Some(number),
                Some(("log", number)) => manifest.logs.push(number),
                _ => return Err(format!("unknown line '{line}'")),
            }
        }
        Ok(manifest)
    }

    fn highest(&self) -> u64 {
        self.logs.iter().copied().chain(self.snapshot).max().unwrap_or(0)
    }
}

fn snapshot_name(number: u64) -> String {
    format!("{number}.snapshot")
}

fn log_name(number: u64) -> String {
    format!("{number}.log")
}

/// The thread that syncs for `everysec`.
#[derive(Debug)]
struct Syncer {
    files: mpsc::Sender<Arc<File>>,
    busy: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    done: mpsc::Receiver<()>,
}

impl Syncer {
    fn start() -> io::Result<Self> {
        let (files, inbox) = mpsc::channel::<Arc<File>>();
        let (outbox, done) = mpsc::channel();
        let (busy, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (thread_busy, thread_failed) = (busy.clone(), failed.clone());
        std::thread::Builder::new().name("store-sync".into()).spawn(move || {
            for file in inbox {
                thread_failed.store(file.sync_data().is_err(), Ordering::Release);
                thread_busy.store(false, Ordering::Release);
                let _ = outbox.send(());
            }
        })?;
        Ok(Self { files, busy, failed, done })
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    fn begin(&self, file: &Arc<File>) {
        while self.done.try_recv().is_ok() {}
        self.busy.store(true, Ordering::Release);
        let _ = self.files.send(file.clone());
    }

    fn wait(&self) {
        while self.is_busy() && self.done.recv().is_ok() {}
    }
}

/// The log being written.
#[derive(Debug)]
struct Log {
    file: Arc<File>,
    size: u64,
    unsynced: bool,
}

/// A snapshot being written.
#[derive(Debug)]
struct Snapshot {
    number: u64,
    path: PathBuf,
    file: io::BufWriter<File>,
    fault: Option<io::Error>,
    /// Changes when it began.
    changes: u64,
    done: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: Option<PathBuf>,
    manifest: Manifest,
    log: Option<Log>,
    /// Commands of this turn.
    turn: Vec<u8>,
    /// The databases that were written to since the last sync, a bit each.
    unsynced_databases: u64,
    /// Frames that could not be written yet.
    unwritten: Vec<u8>,
    snapshot: Option<Snapshot>,
    syncer: Syncer,
    sync_asked_at: i64,
    fault: Option<String>,
    state: DiskState,
    saved_changes: u64,
}

impl Disk {
    /// Reads what is in the folder into the engine, and opens the log if there is to be one.
    pub(crate) fn open(
        dir: Option<&Path>,
        engine: &mut Engine,
        report: fn(&str),
    ) -> Result<Self, RecoveryError> {
        let syncer = Syncer::start().map_err(file_error(Path::new("thread")))?;
        let mut disk = Self {
            dir: dir.map(Path::to_owned),
            manifest: Manifest::default(),
            log: None,
            turn: Vec::new(),
            unsynced_databases: 0,
            unwritten: Vec::new(),
            snapshot: None,
            syncer,
            sync_asked_at: 0,
            fault: None,
            state: engine.disk().clone(),
            saved_changes: 0,
        };
        let Some(dir) = dir else {
            engine.set_logging(false);
            return Ok(disk);
        };
        fs::create_dir_all(dir).map_err(file_error(dir))?;
        disk.read_all(dir, engine, report)?;
        if engine.setting("appendonly") == "yes" {
            disk.start_log(engine).map_err(file_error(dir))?;
        }
        Ok(disk)
    }

    fn read_all(&mut self, dir: &Path, engine: &mut Engine, report: fn(&str)) -> Result<(), RecoveryError> {
        let path = dir.join("manifest");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(RecoveryError::File { path, source: error }),
        };
        self.manifest = Manifest::parse(&text).map_err(|why| RecoveryError::Damaged { path, why })?;
        let start = clock::stopwatch();
        engine.set_loading(true);
        if let Some(number) = self.manifest.snapshot {
            let path = dir.join(snapshot_name(number));
            let bytes = fs::read(&path).map_err(file_error(&path))?;
            let damaged = |why: String| RecoveryError::Damaged { path: path.clone(), why };
            let mut frames =
                Frames::open(&bytes, journal::SNAPSHOT).map_err(|broken| damaged(broken.to_string()))?;
            while let Some(body) = frames.next().map_err(|broken| damaged(broken.to_string()))? {
                engine.restore(body).map_err(damaged)?;
            }
        }
        let client = engine.connect(Peer::default());
        engine.trust(client);
        for (index, number) in self.manifest.logs.clone().into_iter().enumerate() {
            let is_last = index + 1 == self.manifest.logs.len();
            read_log(&dir.join(log_name(number)), is_last, engine, client, report)?;
        }
        engine.disconnect(client);
        engine.set_loading(false);
        let _ = engine.take_effects();
        self.delete_leftovers(dir);
        let ms = clock::stopwatch().saturating_sub(start) / 1000;
        report(&format!("data read in {ms} ms"));
        Ok(())
    }

    fn delete_leftovers(&self, dir: &Path) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        let used: Vec<String> = self
            .manifest
            .logs
            .iter()
            .map(|number| log_name(*number))
            .chain(self.manifest.snapshot.map(snapshot_name))
            .collect();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.split('.').next().unwrap_or_default();
            let ours = stem.parse::<u64>().is_ok() && (name.ends_with(".log") || name.contains(".snapshot"));
            if ours && !used.contains(&name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn write_manifest(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join("manifest.new");
        let mut file = File::create(&temporary)?;
        file.write_all(self.manifest.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join("manifest"))?;
        File::open(dir)?.sync_all()
    }

    /// Opens a new log behind those there are, and names it in the manifest.
    fn start_log(&mut self, engine: &mut Engine) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Ok(()) };
        let number = self.manifest.highest() + 1;
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).open(dir.join(log_name(number)))?;
        file.write_all(journal::LOG)?;
        self.manifest.logs.push(number);
        if let Err(error) = self.write_manifest(&dir) {
            self.manifest.logs.pop();
            return Err(error);
        }
        if let Some(old) = self.log.take() {
            old.file.sync_data()?;
        }
        self.log = Some(Log { file: Arc::new(file), size: journal::LOG.len() as u64, unsynced: true });
        engine.set_logging(true);
        Ok(())
    }

    /// Takes what a turn has produced.
    pub(crate) fn write(&mut self, commands: &[u8], databases: u64, records: &[u8]) {
        if self.log.is_some() {
            self.turn.extend_from_slice(commands);
            self.unsynced_databases |= databases;
        }
        if let Some(snapshot) = &mut self.snapshot
            && !records.is_empty()
            && snapshot.fault.is_none()
        {
            let mut framed = Vec::with_capacity(records.len() + 8);
            journal::frame(&mut framed, records);
            snapshot.fault = snapshot.file.write_all(&framed).err();
        }
    }

    /// Whether the walk should go on.
    pub(crate) fn wants_more(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.done)
    }

    /// The walk has done a slice.
    pub(crate) fn walked(&mut self, done: bool) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.done = done;
        }
    }

    /// Writes the log of the turn, and syncs if each turn is to be; false if a reply now would promise too much.
    pub(crate) fn end_of_turn(&mut self, engine: &mut Engine, report: fn(&str)) -> bool {
        let mut kept = true;
        if !self.turn.is_empty() || !self.unwritten.is_empty() {
            kept = self.write_turn(engine, report);
        }
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.done) {
            self.finish_snapshot(engine, report);
        }
        kept
    }

    fn write_turn(&mut self, engine: &mut Engine, report: fn(&str)) -> bool {
        if !self.turn.is_empty() {
            journal::frame(&mut self.unwritten, &self.turn);
            self.turn.clear();
            if self.turn.capacity() > 1 << 20 {
                self.turn = Vec::new();
            }
        }
        let Some(log) = &mut self.log else {
            self.unwritten.clear();
            return true;
        };
        let policy = engine.fsync(self.unsynced_databases);
        let always = policy == Fsync::Always;
        if policy == Fsync::EverySecond {
            let behind = clock::now_us() / 1000 - self.sync_asked_at > 2000;
            if behind && self.syncer.is_busy() {
                self.state.delayed_syncs += 1;
                self.syncer.wait();
            }
        }
        let result = append(log, &mut self.unwritten)
            .and_then(|()| if always { log.file.sync_data() } else { Ok(()) });
        match result {
            Ok(()) => {
                log.unsynced = !always;
                if always {
                    self.unsynced_databases = 0;
                }
                if self.fault.take().is_some() {
                    report("the log can be written again");
                    engine.set_disk(self.state.clone(), None);
                }
                true
            }
            Err(error) => {
                if self.fault.is_none() {
                    report(&format!("the log cannot be written: {error}; writes are refused until it can"));
                }
                let text = error.to_string();
                let text = text.split(" (os error").next().unwrap_or_default();
                self.fault = Some(format!("MISCONF Errors writing to the AOF file: {text}"));
                engine.set_disk(self.state.clone(), self.fault.clone());
                !always
            }
        }
    }

    /// What time brings: the sync of each second, rewrites and snapshots that are due, a write that failed before.
    pub(crate) fn tick(&mut self, engine: &mut Engine, report: fn(&str)) {
        if !self.unwritten.is_empty() {
            self.write_turn(engine, report);
        }
        let now = clock::now_us() / 1000;
        if let Some(log) = &mut self.log
            && log.unsynced
            && engine.fsync(self.unsynced_databases) == Fsync::EverySecond
            && now - self.sync_asked_at >= 1000
            && !self.syncer.is_busy()
        {
            if self.syncer.failed.load(Ordering::Acquire) {
                report("a sync of the log has failed");
            }
            log.unsynced = false;
            self.unsynced_databases = 0;
            self.sync_asked_at = now;
            self.syncer.begin(&log.file);
        }
        self.begin_what_is_due(engine, report, now);
        self.state.journal_size = self.log.as_ref().map_or(0, |log| log.size);
        self.state.is_writing = self.snapshot.is_some();
        self.state.changes_since_save = engine.changes() - self.saved_changes;
        engine.set_disk(self.state.clone(), self.fault.clone());
    }

    fn begin_what_is_due(&mut self, engine: &mut Engine, report: fn(&str), now: i64) {
        if self.dir.is_none() || self.snapshot.is_some() {
            return;
        }
        let number = |name: &str| engine.setting(name).parse::<u64>().unwrap_or(0);
        let (share, least) = (number("auto-aof-rewrite-percentage"), number("auto-aof-rewrite-min-size"));
        let size = self.log.as_ref().map_or(0, |log| log.size);
        let base = self.state.journal_base_size.max(1);
        let grown = share > 0 && size >= least && size >= base + base / 100 * share;
        let changes = engine.changes() - self.saved_changes;
        let words: Vec<i64> =
            engine.setting("save").split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let due = words.chunks(2).any(|pair| match pair {
            [seconds, least] => {
                changes as i64 >= *least && changes > 0 && now / 1000 - self.state.saved_at >= *seconds
            }
            _ => false,
        });
        if grown || due {
            self.request(DiskRequest::Rewrite, engine, report);
        }
    }

    /// Begins what a command has asked for.
    pub(crate) fn request(&mut self, request: DiskRequest, engine: &mut Engine, report: fn(&str)) {
        let result = match request {
            DiskRequest::Rewrite | DiskRequest::Snapshot => self.begin_snapshot(engine),
            DiskRequest::SnapshotNow => {
                self.snapshot_now(engine, report);
                Ok(())
            }
            DiskRequest::Journal(true) => self.start_log(engine).and_then(|()| self.begin_snapshot(engine)),
            DiskRequest::Journal(false) => {
                engine.set_logging(false);
                self.turn.clear();
                self.log = None;
                Ok(())
            }
            DiskRequest::Shutdown { .. } => Ok(()),
        };
        if let Err(error) = result {
            self.state.last_save_is_ok = false;
            report(&format!("a snapshot cannot be begun: {error}"));
        }
    }

    fn begin_snapshot(&mut self, engine: &mut Engine) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Err(io::Error::other("the store has no folder")) };
        if self.snapshot.is_some() {
            return Ok(());
        }
        // What this turn has logged belongs to the old log: it is part of the picture.
        let effects = std::mem::take(&mut self.turn);
        if let (false, Some(log)) = (effects.is_empty(), &mut self.log) {
            journal::frame(&mut self.unwritten, &effects);
            append(log, &mut self.unwritten)?;
        }
        if self.log.is_some() {
            self.start_log(engine)?;
        }
        let number = self.manifest.highest() + u64::from(self.log.is_none());
        let path = dir.join(format!("{}.new", snapshot_name(number)));
        let mut file = io::BufWriter::with_capacity(1 << 18, File::create(&path)?);
        file.write_all(journal::SNAPSHOT)?;
        engine.begin_walk();
        self.snapshot =
            Some(Snapshot { number, path, file, fault: None, changes: engine.changes(), done: false });
        Ok(())
    }

    /// Writes a whole snapshot before it returns.
    pub(crate) fn snapshot_now(&mut self, engine: &mut Engine, report: fn(&str)) {
        if let Err(error) = self.begin_snapshot(engine) {
            self.state.last_save_is_ok = false;
            report(&format!("a snapshot cannot be begun: {error}"));
            return;
        }
        loop {
            let done = engine.walk(1 << 20);
            let records = engine.take_snapshot();
            self.write(&[], 0, &records);
            if done {
                break;
            }
        }
        self.walked(true);
        self.finish_snapshot(engine, report);
    }

    fn finish_snapshot(&mut self, engine: &mut Engine, report: fn(&str)) {
        let (Some(snapshot), Some(dir)) = (self.snapshot.take(), self.dir.clone()) else { return };
        let changes = snapshot.changes;
        match self.install(snapshot, &dir) {
            Ok(()) => {
                self.state.last_save_is_ok = true;
                self.state.saved_at = clock::now_us() / 1_000_000;
                self.state.rewrites += 1;
                self.state.journal_base_size = self.log.as_ref().map_or(0, |log| log.size);
                self.saved_changes = changes;
                self.delete_leftovers(&dir);
            }
            Err(error) => {
                self.state.last_save_is_ok = false;
                report(&format!("a snapshot could not be written: {error}"));
            }
        }
        self.state.is_writing = false;
        engine.set_disk(self.state.clone(), self.fault.clone());
    }

    fn install(&mut self, snapshot: Snapshot, dir: &Path) -> io::Result<()> {
        if let Some(fault) = snapshot.fault {
            return Err(fault);
        }
        let file = snapshot.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&snapshot.path, dir.join(snapshot_name(snapshot.number)))?;
        let before = self.manifest.clone();
        self.manifest.snapshot = Some(snapshot.number);
        self.manifest.logs.retain(|number| *number >= snapshot.number && self.log.is_some());
        self.write_manifest(dir).inspect_err(|_| self.manifest = before)
    }

    /// Writes and syncs the last of the log.
    pub(crate) fn finish(&mut self, report: fn(&str)) {
        self.syncer.wait();
        if let Some(log) = &mut self.log
            && let Err(error) = append(log, &mut self.unwritten).and_then(|()| log.file.sync_data())
        {
            report(&format!("the end of the log could not be written: {error}"));
        }
    }
}

/// Writes `bytes` at the end; what was written is taken out of it even if the rest fails.
fn append(log: &mut Log, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut written = 0;
    let result = loop {
        if written == bytes.len() {
            break Ok(());
        }
        match (&*log.file).write(&bytes[written..]) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    log.size += written as u64;
    bytes.drain(..written);
    result
}

fn read_log(
    path: &Path,
    is_last: bool,
    engine: &mut Engine,
    client: crate::session::ClientId,
    report: fn(&str),
) -> Result<(), RecoveryError> {
    let bytes = fs::read(path).map_err(file_error(path))?;
    let damaged = |why: String| RecoveryError::Damaged { path: path.to_owned(), why };
    let cut = |at: usize| -> Result<(), RecoveryError> {
        report(&format!("{}: the last {} bytes were torn and are cut off", path.display(), bytes.len() - at));
        let file = OpenOptions::new().write(true).open(path).map_err(file_error(path))?;
        file.set_len(at as u64).and_then(|()| file.sync_all()).map_err(file_error(path))
    };
    let mut frames = match Frames::open(&bytes, journal::LOG) {
        Ok(frames) => frames,
        Err(Broken::Torn { at }) if is_last => return cut(at),
        Err(broken) => return Err(damaged(broken.to_string())),
    };
    engine.begin_log_part();
    loop {
        match frames.next() {
            Ok(None) => return Ok(()),
            Ok(Some(body)) => engine.replay(client, body).map_err(damaged)?,
            Err(Broken::Torn { at }) if is_last => return cut(at),
            Err(broken) => return Err(damaged(broken.to_string())),
        }
    }
}
