//! The files: which there are, what is written when, and how they are read at the start.
//!
//! `manifest` names the files in use: at most one snapshot and the logs that follow it, in order. Everything else in
//! the folder with such a name is left over from a crash and is deleted. A rewrite opens a new log first, walks over
//! the data as it was at that moment into a new snapshot, and then replaces the manifest by a rename: at each moment
//! the manifest names a whole picture.
//!
//! **`always`**: one write and one sync at the end of a turn of the loop, before any reply. **`everysec`**: a write at
//! the end of the turn, a sync twice a second on a thread of its own; when one takes longer than half a second, the
//! loop waits for it, so that no more than about a second can be lost. **`no`**: the system decides. Each database may have its
//! own rule; they share the log, so the strictest rule among the databases that were written to holds.
//!
//! A sync that fails is worse than a write that fails: what the system has dropped cannot be told. Then writes are
//! refused until the log has been begun anew from a snapshot.
//!
//! A write that fails refuses further writes of clients with MISCONF; it is tried again each turn, and when it
//! succeeds everything goes on. With `always` the clients of the turn that could not be written are cut off without a
//! reply, because an answer would be a promise.

use crate::config::Fsync;
use crate::effects::DiskRequest;
use crate::engine::{DiskState, Engine};
use crate::journal;
use crate::manifest::{Manifest, Part, log_name, snapshot_name};
use crate::shell::clock;
use crate::shell::recover::{
    self, Loading, Recovered, RecoveryError, delete_leftovers, file_error, lock, write_manifest,
};
use crate::shell::snapshot_file::SnapshotFile;
use nix::fcntl::Flock;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// The folder for backups, within the store's.
pub(crate) const BACKUPS: &str = "backups";
/// Milliseconds between two syncs under `everysec`, and how long one may take before writes wait for it: together no
/// more than a second of writes is at stake.
const SYNC_MS: i64 = 500;
/// Milliseconds until a snapshot that has failed is tried again by itself.
const RETRY_MS: i64 = 5000;
/// What writes are answered with when `save` is set and the last snapshot has failed; Redis's words.
const UNSAVED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

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
    file: SnapshotFile,
    /// Changes when it began.
    changes: u64,
    done: bool,
    /// The folder of a backup; otherwise it becomes part of the store's own data.
    backup: Option<PathBuf>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: Option<PathBuf>,
    /// Held as long as the folder is written to.
    _lock: Option<Flock<File>>,
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
    /// A sync has failed: what the system holds of the log may be lost, so the log is to be begun anew, from a
    /// snapshot, before writes are accepted again.
    must_renew: bool,
    /// When a snapshot last failed, in milliseconds since 1970.
    failed_at: i64,
}

impl Disk {
    fn new(dir: Option<&Path>, engine: &Engine) -> io::Result<Self> {
        Ok(Self {
            dir: dir.map(Path::to_owned),
            _lock: None,
            manifest: Manifest::default(),
            log: None,
            turn: Vec::new(),
            unsynced_databases: 0,
            unwritten: Vec::new(),
            snapshot: None,
            syncer: Syncer::start()?,
            sync_asked_at: 0,
            fault: None,
            state: engine.disk().clone(),
            saved_changes: 0,
            must_renew: false,
            failed_at: 0,
        })
    }

    /// Reads what is in the folder into the engine, and opens the log if there is to be one.
    pub(crate) fn open(
        dir: Option<&Path>,
        engine: &mut Engine,
        report: fn(&str),
        status: fn(&str),
    ) -> Result<Self, RecoveryError> {
        let mut disk = Self::new(dir, engine).map_err(file_error(Path::new("thread")))?;
        let Some(dir) = dir else {
            engine.set_logging(false);
            return Ok(disk);
        };
        fs::create_dir_all(dir).map_err(file_error(dir))?;
        disk._lock = Some(lock(dir)?);
        match recover::recover(dir, engine, report, Loading::new(status))? {
            Recovered::Own(manifest) => disk.manifest = manifest,
            Recovered::Redis => {
                engine.set_logging(false);
                disk.snapshot_at_once(engine).map_err(file_error(dir))?;
            }
        }
        if engine.setting("appendonly") == "yes" {
            disk.start_log(engine, true).map_err(file_error(dir))?;
        }
        Ok(disk)
    }

    fn write_manifest(&self, dir: &Path) -> io::Result<()> {
        write_manifest(dir, &self.manifest)
    }

    /// Opens a new log behind those there are, and names it in the manifest if `is_part`: one that is begun while there
    /// was none is no part of the picture before its snapshot is there.
    fn start_log(&mut self, engine: &mut Engine, is_part: bool) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Ok(()) };
        let number = self.manifest.highest() + 1;
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).open(dir.join(log_name(number)))?;
        file.write_all(journal::LOG)?;
        let before = self.manifest.clone();
        if let (Some(old), Some(part)) = (&self.log, self.manifest.logs.last_mut()) {
            if !self.must_renew {
                old.file.sync_data()?;
            }
            part.size = Some(old.size);
        }
        self.manifest.logs.push(Part { number, size: None });
        if is_part {
            self.write_manifest(&dir).inspect_err(|_| self.manifest = before)?;
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
        {
            let mut framed = Vec::with_capacity(records.len() + 8);
            journal::frame(&mut framed, records);
            snapshot.file.write(&framed);
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
        if self.snapshot.as_mut().is_some_and(|snapshot| snapshot.done && snapshot.file.is_complete()) {
            self.finish_snapshot(engine, report);
        }
        kept
    }

    fn write_turn(&mut self, engine: &mut Engine, report: fn(&str)) -> bool {
        // While writes are refused, what a turn logs (keys that expire) is nobody's reply.
        let is_promised = !self.turn.is_empty() && self.fault.is_none();
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
            let behind = clock::now_us() / 1000 - self.sync_asked_at > SYNC_MS;
            if behind && self.syncer.is_busy() {
                self.state.delayed_syncs += 1;
                self.syncer.wait();
            }
        }
        let written = append(log, &mut self.unwritten);
        let result = match written {
            Ok(()) if always => log.file.sync_data().inspect_err(|_| self.must_renew = true),
            written => written,
        };
        match result {
            Ok(()) if self.must_renew => !(always && is_promised),
            Ok(()) => {
                log.unsynced = !always;
                if always {
                    self.unsynced_databases = 0;
                }
                if self.fault.take().is_some() {
                    report("the log can be written again");
                    self.tell(engine);
                }
                true
            }
            Err(error) => {
                self.refuse_writes(engine, report, &error.to_string());
                !(always && is_promised)
            }
        }
    }

    fn refuse_writes(&mut self, engine: &mut Engine, report: fn(&str), why: &str) {
        if self.fault.is_none() {
            report(&format!("the log cannot be written: {why}; writes are refused until it can"));
        }
        let text = why.split(" (os error").next().unwrap_or_default();
        self.fault = Some(format!("MISCONF Errors writing to the AOF file: {text}"));
        self.tell(engine);
    }

    /// Tells the engine how the disk is, and whether writes are to be refused.
    fn tell(&self, engine: &mut Engine) {
        let unsaved = !self.state.last_save_is_ok
            && !engine.setting("save").is_empty()
            && engine.setting("stop-writes-on-bgsave-error") == "yes";
        let fault = self.fault.clone().or_else(|| unsaved.then(|| UNSAVED.to_owned()));
        engine.set_disk(self.state.clone(), fault);
    }

    /// What time brings: the sync of each second, rewrites and snapshots that are due, a write that failed before.
    pub(crate) fn tick(&mut self, engine: &mut Engine, report: fn(&str)) {
        if !self.unwritten.is_empty() {
            self.write_turn(engine, report);
        }
        let now = clock::now_us() / 1000;
        if self.syncer.failed.swap(false, Ordering::AcqRel) {
            self.must_renew = true;
            self.refuse_writes(engine, report, "Input/output error");
        }
        if let Some(log) = &mut self.log
            && !self.must_renew
            && log.unsynced
            && engine.fsync(self.unsynced_databases) == Fsync::EverySecond
            && now - self.sync_asked_at >= SYNC_MS
            && !self.syncer.is_busy()
        {
            log.unsynced = false;
            self.unsynced_databases = 0;
            self.sync_asked_at = now;
            self.syncer.begin(&log.file);
        }
        self.begin_what_is_due(engine, report, now);
        self.state.journal_size = self.log.as_ref().map_or(0, |log| log.size);
        self.state.is_writing = self.snapshot.is_some();
        self.state.changes_since_save = engine.changes() - self.saved_changes;
        self.tell(engine);
    }

    fn begin_what_is_due(&mut self, engine: &mut Engine, report: fn(&str), now: i64) {
        if self.dir.is_none() || self.snapshot.is_some() || now - self.failed_at < RETRY_MS {
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
        if grown || due || self.must_renew {
            self.request(DiskRequest::Rewrite, engine, report);
        }
    }

    /// Begins what a command has asked for.
    pub(crate) fn request(&mut self, request: DiskRequest, engine: &mut Engine, report: fn(&str)) {
        let result = match request {
            DiskRequest::Rewrite | DiskRequest::Snapshot => self.begin_snapshot(engine),
            DiskRequest::SnapshotNow(client) => {
                self.snapshot_now(engine, report);
                let why = || "the snapshot could not be written; the log says why".to_owned();
                engine.shell_has_done(client, self.state.last_save_is_ok.then_some(()).ok_or_else(why));
                Ok(())
            }
            DiskRequest::Backup(name) => self.begin_backup(&name, engine),
            DiskRequest::Journal(true) => {
                self.start_log(engine, false).and_then(|()| self.begin_snapshot(engine))
            }
            DiskRequest::Journal(false) => {
                engine.set_logging(false);
                self.turn.clear();
                self.unwritten.clear();
                self.must_renew = false;
                self.fault = None;
                self.log = None;
                Ok(())
            }
            DiskRequest::Shutdown { .. }
            | DiskRequest::KeepSettings(_)
            | DiskRequest::LoadUsers(_)
            | DiskRequest::SaveUsers(_) => Ok(()),
        };
        match result {
            Ok(()) => {
                // Who asks at once must not take it for ended.
                self.state.is_writing = self.snapshot.is_some();
                self.state.changes_since_save = engine.changes() - self.saved_changes;
                self.tell(engine);
            }
            Err(error) => self.snapshot_failed(engine, report, &error),
        }
    }

    fn snapshot_failed(&mut self, engine: &mut Engine, report: fn(&str), error: &io::Error) {
        self.state.last_save_is_ok = false;
        self.failed_at = clock::now_us() / 1000;
        report(&format!("a snapshot could not be written: {error}"));
        self.tell(engine);
    }

    /// Begins a copy of everything into a folder of its own, from which a store can be started.
    fn begin_backup(&mut self, name: &str, engine: &mut Engine) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Err(io::Error::other("the store has no folder")) };
        if self.snapshot.is_some() {
            return Err(io::Error::other("another snapshot is being written"));
        }
        let folder = dir.join(BACKUPS).join(name);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.new", snapshot_name(1)));
        let file = SnapshotFile::create(&path)?;
        engine.begin_walk();
        self.state.backup = Some(name.to_owned());
        self.snapshot =
            Some(Snapshot { number: 1, path, file, changes: 0, done: false, backup: Some(folder) });
        Ok(())
    }

    fn begin_snapshot(&mut self, engine: &mut Engine) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Err(io::Error::other("the store has no folder")) };
        if self.snapshot.is_some() {
            return Ok(());
        }
        // What this turn has logged belongs to the old log: it is part of the picture.
        let effects = std::mem::take(&mut self.turn);
        if !effects.is_empty() {
            journal::frame(&mut self.unwritten, &effects);
        }
        match &mut self.log {
            // The picture holds it all, and the log that lacks it is left behind.
            Some(_) if self.must_renew => self.unwritten.clear(),
            Some(log) => append(log, &mut self.unwritten)?,
            None => {}
        }
        // A log that was begun a moment ago, and is in no manifest yet, waits for just this snapshot.
        let is_fresh = self.log.as_ref().is_some_and(|log| log.size == journal::LOG.len() as u64);
        if self.log.is_some() && !is_fresh {
            self.start_log(engine, !self.must_renew)?;
        }
        let number = self.manifest.highest() + u64::from(self.log.is_none());
        let path = dir.join(format!("{}.new", snapshot_name(number)));
        let file = SnapshotFile::create(&path)?;
        engine.begin_walk();
        self.snapshot =
            Some(Snapshot { number, path, file, changes: engine.changes(), done: false, backup: None });
        Ok(())
    }

    /// Writes what an engine holds into a folder that holds nothing yet.
    pub(crate) fn write_first(dir: &Path, lock: Flock<File>, engine: &mut Engine) -> io::Result<()> {
        engine.set_logging(false);
        let mut disk = Self::new(Some(dir), engine)?;
        disk._lock = Some(lock);
        disk.snapshot_at_once(engine)
    }

    /// Writes a whole snapshot before it returns, and installs it; there is none under way.
    fn snapshot_at_once(&mut self, engine: &mut Engine) -> io::Result<()> {
        self.begin_snapshot(engine)?;
        self.walk_to_the_end(engine);
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        let dir = self.dir.clone().unwrap_or_default();
        self.install(snapshot, &dir)
    }

    /// Writes a whole snapshot before it returns.
    pub(crate) fn snapshot_now(&mut self, engine: &mut Engine, report: fn(&str)) {
        if let Err(error) = self.begin_snapshot(engine) {
            return self.snapshot_failed(engine, report, &error);
        }
        self.walk_to_the_end(engine);
        self.finish_snapshot(engine, report);
    }

    /// Brings a snapshot or backup under way to its end: the data are about to be replaced.
    pub(crate) fn end_snapshot(&mut self, engine: &mut Engine, report: fn(&str)) {
        if self.snapshot.is_some() {
            self.walk_to_the_end(engine);
            self.finish_snapshot(engine, report);
        }
    }

    /// The data were replaced as a whole: a log begins that follows from them. Without that the old log would go on
    /// from data that are no more, so when it fails, writes are refused until it has been done.
    pub(crate) fn keep_copy(&mut self, engine: &mut Engine, report: fn(&str)) {
        if self.log.is_none() {
            return;
        }
        self.must_renew = true;
        self.snapshot_now(engine, report);
        if self.must_renew {
            self.refuse_writes(engine, report, "the leader's copy could not be kept");
        }
    }

    fn walk_to_the_end(&mut self, engine: &mut Engine) {
        loop {
            let done = engine.walk(1 << 20);
            let records = engine.take_snapshot();
            self.write(&[], 0, &records);
            if done {
                break;
            }
        }
        self.walked(true);
    }

    fn finish_snapshot(&mut self, engine: &mut Engine, report: fn(&str)) {
        let (Some(snapshot), Some(dir)) = (self.snapshot.take(), self.dir.clone()) else { return };
        self.state.is_writing = false;
        if let Some(folder) = snapshot.backup.clone() {
            let result = install_backup(snapshot, &folder);
            self.state.backup = None;
            self.state.last_backup_error = result.as_ref().err().map(ToString::to_string);
            if let Err(error) = result {
                let _ = fs::remove_dir_all(&folder);
                report(&format!("the backup {} could not be written: {error}", folder.display()));
            }
            return self.tell(engine);
        }
        let changes = snapshot.changes;
        match self.install(snapshot, &dir) {
            Ok(()) => {
                self.state.last_save_is_ok = true;
                self.state.saved_at = clock::now_us() / 1_000_000;
                self.state.rewrites += 1;
                self.state.journal_base_size = self.log.as_ref().map_or(0, |log| log.size);
                self.saved_changes = changes;
                if std::mem::take(&mut self.must_renew) && self.fault.take().is_some() {
                    report("the log was begun anew and can be written again");
                }
                self.tell(engine);
            }
            Err(error) => self.snapshot_failed(engine, report, &error),
        }
        let gone = delete_leftovers(&dir, &self.manifest);
        // The system gives the room of a big file back when it is closed, which takes its time.
        drop(std::thread::Builder::new().name("store-close".into()).spawn(move || drop(gone)));
    }

    fn install(&mut self, snapshot: Snapshot, dir: &Path) -> io::Result<()> {
        let (number, path) = (snapshot.number, snapshot.path.clone());
        let size = snapshot.file.complete()?;
        fs::rename(&path, dir.join(snapshot_name(number)))?;
        let before = self.manifest.clone();
        self.manifest.snapshot = Some(Part { number, size: Some(size) });
        self.manifest.logs.retain(|part| part.number >= number && self.log.is_some());
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

fn install_backup(snapshot: Snapshot, folder: &Path) -> io::Result<()> {
    let path = snapshot.path.clone();
    let part = Part { number: snapshot.number, size: Some(snapshot.file.complete()?) };
    fs::rename(&path, folder.join(snapshot_name(part.number)))?;
    write_manifest(folder, &Manifest { snapshot: Some(part), logs: Vec::new() })
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
