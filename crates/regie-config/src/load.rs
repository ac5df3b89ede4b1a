//! From files and environment to one effective configuration.
//!
//! The order: regie.toml is parsed; what it says of folder and framework decides which `.env` is read; `[app] env`
//! or the application's own `APP_ENV` decides development or production, which decides the overlay
//! (`regie.production.toml` or `regie.local.toml`); then everything is read with `${…}` put in, and what the
//! application itself tells fills the gaps. All faults of all files come together.

use std::path::{Path, PathBuf};

use crate::addresses::{self, Addresses, Available, Decision, Network, StoreAddress};
use crate::application::{Application, Runner, below};
use crate::check::{Finding, Severity};
use crate::document::{self, Table, Value};
use crate::dotenv::{DotEnv, Variables};
use crate::fault::{Fault, Faults, Place};
use crate::files::Files;
use crate::first_steps::FirstSteps;
use crate::htaccess::Htaccess;
use crate::schema::{Origin, Outside, Reader, Section, Shown};
use crate::settings::{self, App, Config, Pool};
use crate::store::{self, External, Sentinels, StoreFiles};
use crate::values::{AppEnv, EnvValue, Framework, Listen, Mode, Ready};

/// What the loading of a configuration asks of the world. `shell` answers from the machine, tests from memory.
pub trait World: Network {
    /// The configuration's folder, in full.
    fn folder(&self) -> PathBuf;
    /// The text of a configuration file beside the application; `None` when it is absent.
    ///
    /// # Errors
    /// Why it cannot be read, as a fragment.
    fn config(&self, name: &str) -> Result<Option<String>, String>;
    /// The application's folder, relative to the configuration's.
    fn application(&self, root: &Path) -> Box<dyn Files + '_>;
    /// The content of a file that `${file:/path}` names, without the newline at its end.
    ///
    /// # Errors
    /// Why it cannot be read, as a fragment.
    fn secret(&self, path: &Path) -> Result<String, String>;
    /// What an earlier start of the embedded store has left in the state folder.
    fn store_files(&self, state: &Path) -> StoreFiles {
        let _ = state;
        StoreFiles::default()
    }
    /// Where the master of `sentinels` is now; what they have told last stands in the state folder.
    ///
    /// # Errors
    /// Why nobody knows.
    fn master(&self, sentinels: &Sentinels, state: &Path) -> Result<(String, u16), String> {
        let _ = (sentinels, state);
        Err("no sentinel answers".to_owned())
    }
    /// The first of a cluster's nodes that can be reached: its place in the list.
    fn reachable(&self, nodes: &[(String, u16)]) -> Option<usize> {
        let _ = nodes;
        None
    }
}

/// What the command line adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `--config FILE`; otherwise regie.toml of the folder, which may be absent.
    pub config: Option<String>,
    /// Development or production, whatever the files say (`regie check --production`).
    pub env: Option<AppEnv>,
    /// The parts that stand behind addresses.
    pub available: Available,
}

/// A configuration without faults, and everything that was found on the way.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// Everything that regie.toml says, with what was detected in the gaps: the pool `web` has its mode and script,
    /// the gateway its front controller and upload folders.
    pub config: Config,
    /// The configuration files that were read.
    pub files: Vec<String>,
    /// What the application is.
    pub application: Application,
    /// The application's folder, relative to the configuration's.
    pub root: PathBuf,
    /// Development or production.
    pub env: AppEnv,
    /// What said so.
    pub env_origin: Origin,
    /// `.env` and the environment, as the application sees them.
    pub dotenv: DotEnv,
    /// What the `.htaccess` files of the document root ask for. Folders that it refuses are in `config.gateway.deny`
    /// already.
    pub htaccess: Htaccess,
    /// What a freshly cloned application still lacks.
    pub first_steps: FirstSteps,
    /// Where each address that the application names leads.
    pub decisions: Vec<Decision>,
    /// Whether the application's settings use a Redis.
    pub uses_redis: bool,
    /// The store that `[store] url` names, where it is now.
    pub store: Option<StoreAddress>,
    /// Variables that every child gets as real environment, beside the inherited one.
    pub child_environment: Variables,
    /// What a person should know before the start.
    pub warnings: Vec<Finding>,
    /// Whether nobody has written the mode of the pool `web`: then there is a way out where it does not work.
    pub web_mode_is_detected: bool,
    /// The rows of `regie check --show`.
    pub shown: Vec<Shown>,
}

impl std::fmt::Debug for Loaded {
    /// Without the environment of the children, which holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("application", &self.application)
            .field("env", &self.env)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// The document root, relative to the configuration's folder.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.root.join(&self.application.public)
    }

    /// The pool that serves the gateway.
    ///
    /// # Panics
    /// Never: the pool `web` is always there.
    #[must_use]
    pub fn web(&self) -> &Pool {
        &self.config.pools["web"]
    }
}

/// Loads a configuration in `world`, in an environment.
///
/// # Errors
/// Every fault of every file.
pub fn load(world: &dyn World, options: &Options, environment: &Variables) -> Result<Loaded, Faults> {
    let mut syntax = Vec::new();
    let mut files = Vec::new();
    let name = options.config.as_deref().unwrap_or("regie.toml");
    let mut root = open(world, name, options.config.is_some(), &mut syntax, &mut files);

    let early = Early::read(world, &root, options, environment);
    let overlay_name = overlay_name(name, early.env);
    let overlay = open(world, &overlay_name, false, &mut syntax, &mut files);
    let misplaced = keys_too_late(&overlay);
    root.overlay(overlay);

    let outside = Interpolation { world, dotenv: &early.dotenv };
    let mut reader = Reader::new(&outside);
    reader.faults.extend(misplaced);
    let config = settings::read(&root, &mut reader);
    let Reader { faults, shown, .. } = reader;
    Faults::check(document::forget_faults_on_broken_lines(syntax, faults), &files)?;
    Ok(assemble(world, options, &root, early, config, shown, files))
}

/// Parses a configuration file, when it is there.
fn open(
    world: &dyn World,
    name: &str,
    wanted: bool,
    syntax: &mut Vec<Fault>,
    files: &mut Vec<String>,
) -> Table {
    let (what, fix) = match world.config(name) {
        Ok(Some(text)) => {
            files.push(name.to_owned());
            return document::parse(name, &text, syntax);
        }
        Ok(None) if !wanted => return Table::default(),
        Ok(None) => ("the file does not exist".to_owned(), "correct --config, or leave it out"),
        Err(why) => {
            (format!("the file cannot be read: {why}"), "make it readable for the user that runs regie")
        }
    };
    syntax.push(Fault { place: Place::whole(name), what, fix: Some(fix.to_owned()) });
    Table::default()
}

/// `regie.toml` is overlaid by `regie.production.toml` or `regie.local.toml`.
fn overlay_name(name: &str, env: AppEnv) -> String {
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    let kind = if env == AppEnv::Production { "production" } else { "local" };
    format!("{stem}.{kind}.toml")
}

/// Keys that decide which overlay is read cannot stand in an overlay.
fn keys_too_late(overlay: &Table) -> Vec<Fault> {
    let Some(Value::Table(app)) = overlay.get("app").map(|entry| &entry.node.value) else {
        return Vec::new();
    };
    let late = ["env", "root", "framework"].into_iter().filter_map(|key| app.get(key));
    let fault = |entry: &document::Entry| Fault {
        place: entry.place.clone(),
        what: format!("\"{}\" decides which overlay is read, so it cannot stand in one", entry.name),
        fix: Some("move it to regie.toml".to_owned()),
    };
    late.map(fault).collect()
}

/// What must be known before the whole can be read.
struct Early {
    root: PathBuf,
    application: Application,
    dotenv: DotEnv,
    env: AppEnv,
    env_origin: Origin,
    findings: Vec<Finding>,
}

impl Early {
    fn read(world: &dyn World, root: &Table, options: &Options, environment: &Variables) -> Self {
        let app = peek(world, root, environment);
        let files = world.application(&app.root);
        let public = app.public.as_ref().map(|path| path.to_string_lossy().into_owned());
        let application = Application::detect(&*files, app.framework, public.as_deref());
        let dotenv = DotEnv::read(&*files, application.framework, environment);
        let mut findings = Vec::new();
        let (env, env_origin) = match (options.env, app.env) {
            (Some(env), _) => (env, Origin::Detected("the command line".to_owned())),
            (None, Some(env)) => (env, app_env_origin(root)),
            (None, None) => env_of(&dotenv, application.framework),
        };
        if let Some(wanted) = app.env
            && let (own, Origin::Variable(name, file)) = env_of(&dotenv, application.framework)
            && own != wanted
        {
            let what = format!("[app] env says {wanted}, the application's own {name} says {own}");
            findings.push(Finding::new(
                Severity::Warning,
                file,
                what,
                format!("set {name} to match, or leave [app] env out"),
            ));
        }
        Self { root: app.root, application, dotenv, env, env_origin, findings }
    }
}

fn app_env_origin(root: &Table) -> Origin {
    let place = match root.get("app").map(|entry| &entry.node.value) {
        Some(Value::Table(app)) => app.get("env").map(|entry| entry.node.place.clone()),
        _ => None,
    };
    place.map_or(Origin::Default, Origin::File)
}

/// `[app]` alone, without faults: they are found again when the whole is read.
fn peek(world: &dyn World, root: &Table, environment: &Variables) -> App {
    // `.env` is not known yet, so only the real environment can be put in here.
    let dotenv = DotEnv::read(&crate::files::MemoryFiles::default(), Framework::Plain, environment);
    let outside = Interpolation { world, dotenv: &dotenv };
    let table = match root.get("app").map(|entry| &entry.node.value) {
        Some(Value::Table(app)) => Some(app),
        _ => None,
    };
    App::read_section(table, &mut Reader::new(&outside), &|_| true)
}

/// Development or production as the application's own variables have it.
fn env_of(dotenv: &DotEnv, framework: Framework) -> (AppEnv, Origin) {
    let names: &[&str] = match framework {
        Framework::Wordpress => &["APP_ENV", "WP_ENV", "WP_ENVIRONMENT_TYPE"],
        _ => &["APP_ENV"],
    };
    for name in names {
        let Some(word) = dotenv.get(name).filter(|word| !word.is_empty()) else { continue };
        if dotenv.origin(name) == crate::dotenv::symfony::DEFAULT {
            continue;
        }
        let env = match word.to_ascii_lowercase().as_str() {
            "local" | "dev" | "development" | "test" | "testing" => AppEnv::Development,
            // Staging and whatever else a team calls its servers must be as closed as production.
            _ => AppEnv::Production,
        };
        return (env, Origin::Variable((*name).to_owned(), dotenv.origin(name).to_owned()));
    }
    (AppEnv::Development, Origin::Default)
}

struct Interpolation<'a> {
    world: &'a dyn World,
    dotenv: &'a DotEnv,
}

impl Outside for Interpolation<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.dotenv.get(name).map(str::to_owned)
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        self.world.secret(path)
    }
}

/// Fills the gaps with what was detected.
fn assemble(
    world: &dyn World,
    options: &Options,
    root: &Table,
    early: Early,
    mut config: Config,
    mut shown: Vec<Shown>,
    files: Vec<String>,
) -> Loaded {
    let Early { root: folder, application, dotenv, env, env_origin, findings } = early;
    let mut warnings = unserved(root);
    warnings.extend(findings);
    // Laravel and Symfony stop at a broken .env; other applications need not read it at all.
    let severity = match application.framework {
        Framework::Laravel | Framework::Symfony => Severity::Error,
        Framework::Wordpress | Framework::Plain => Severity::Warning,
    };
    warnings.extend(dotenv.faults.iter().map(|fault| {
        Finding::new(
            severity,
            fault.place.to_string(),
            &*fault.what,
            fault.fix.as_deref().unwrap_or("repair the line"),
        )
    }));

    let mut found = Detected { shown: &mut shown };
    config.app.env = Some(env);
    found.note("app", "env", format!("\"{env}\""), env_origin.clone());
    config.app.framework = Some(application.framework);
    found.fill("app", "framework", format!("\"{}\"", application.framework), &application.because);
    if config.app.public.is_none() {
        found.fill("app", "public", format!("{:?}", application.public), "the folder's files");
        config.app.public = Some(PathBuf::from(&application.public));
    }
    let is_front_stated = config.gateway.front_controller.is_some();
    fill_gateway(&mut config, &application, &mut found);
    let base = world.folder().join(&folder);
    let web_mode_is_detected = config.pools.get("web").is_none_or(|web| web.mode.is_none());
    for (name, pool) in &mut config.pools {
        fill_pool(name, pool, &application, (&base, env), &mut found);
    }

    let app_files = world.application(&folder);
    let first_steps = FirstSteps::look(&*app_files, &application, &dotenv);
    let is_front_known = config.gateway.front_controller.is_some();
    let mut htaccess = Htaccess::read(&*app_files, &application.public, is_front_known);
    warnings.append(&mut htaccess.findings);
    config.gateway.deny.extend(htaccess.deny.iter().cloned());
    // A folder of PHP files may have a front controller all the same, which only its .htaccess tells of.
    if let Some(place) = htaccess.front_controller.as_ref().filter(|_| !is_front_stated && !is_front_known)
        && app_files.is_file(&below(&application.public, "index.php"))
    {
        config.gateway.front_controller = Some("index.php".to_owned());
        found.fill("gateway", "front_controller", "\"index.php\"".to_owned(), place);
    }
    let (available, lost) = with_own_parts(&options.available, &config, world);
    warnings.extend(lost);
    let addresses =
        addresses::decide(&dotenv, &config.hosts, &*app_files, application.framework, world, &available);
    decide_store(root, &mut config, &addresses, &mut found);
    let is_external = config.store.url.is_some();
    warnings.extend(addresses.findings);
    let mut child_environment = addresses.overrides;
    if let Some((name, word)) = app_env_for_children(&dotenv, application.framework, env) {
        child_environment.insert(name, word);
    }
    Loaded {
        config,
        files,
        application,
        root: folder,
        env,
        env_origin,
        dotenv,
        htaccess,
        first_steps,
        decisions: addresses.decisions,
        uses_redis: addresses.uses_redis,
        store: available.store.filter(|_| is_external),
        child_environment,
        warnings,
        web_mode_is_detected,
        shown,
    }
}

/// What the configuration itself puts behind addresses: the store, and programs that wait for a port.
fn with_own_parts(available: &Available, config: &Config, world: &dyn World) -> (Available, Option<Finding>) {
    let mut available = available.clone();
    let mut lost = None;
    if let Some(url) = &config.store.url {
        match store::external(url.reveal()).map(|store| at_present(store, config, world)) {
            Ok(Ok(store)) => available.store = Some(store),
            Ok(Err(finding)) => {
                available.store_is_lost = true;
                lost = Some(finding);
            }
            Err(_) => {}
        }
    } else if config.store.enabled != Some(false) && available.store.is_none() {
        available.store = Some(embedded_store(config, &world.store_files(&config.app.state)));
    }
    let ports = config.programs.values().filter_map(|program| match &program.ready {
        Ready::Tcp(address) => address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()),
        _ => None,
    });
    available.ports.extend(ports);
    (available, lost)
}

/// Where the store of `[store] url` is now.
fn at_present(store: External, config: &Config, world: &dyn World) -> Result<StoreAddress, Finding> {
    match store {
        External::One(store) => Ok(store),
        External::Sentinels(sentinels) => match world.master(&sentinels, &config.app.state) {
            Ok((host, port)) => Ok(sentinels.master_at(host, port)),
            Err(why) => {
                let what = format!(
                    "the sentinels {} do not say where {} is: {why}",
                    sentinels.list(),
                    sentinels.master
                );
                let fix =
                    "start them, or correct the URL; the application is led there as soon as one answers";
                Err(Finding::new(Severity::Error, "[store] url", what, fix))
            }
        },
        // None can be reached for the moment; the application asks again.
        External::Cluster(cluster) => {
            Ok(cluster.entered_by(world.reachable(&cluster.nodes).unwrap_or_default()))
        }
    }
}

/// The embedded store as the application is to reach it. Before its first start neither port nor password is known;
/// what then stands in for them is replaced before any child is started.
fn embedded_store(config: &Config, files: &StoreFiles) -> StoreAddress {
    let listen = match &config.store.listen {
        Listen::Tcp(address) => *address,
        Listen::Unix(_) => (std::net::Ipv4Addr::LOCALHOST, 0).into(),
    };
    let address = files.address.unwrap_or(listen);
    // Who listens everywhere is reached on loopback.
    let host = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".to_owned(),
        ip if ip.is_unspecified() => "::1".to_owned(),
        ip => ip.to_string(),
    };
    let password = config.store.password.clone().or_else(|| files.password.clone());
    StoreAddress {
        name: "embedded store".to_owned(),
        host,
        port: address.port(),
        username: None,
        password: password.filter(|password| !password.reveal().is_empty()),
        tls: false,
        nodes: Vec::new(),
    }
}

/// Whether the embedded store runs; [`store`] has the rule.
fn decide_store(root: &Table, config: &mut Config, addresses: &Addresses, found: &mut Detected<'_>) {
    let store = &mut config.store;
    if store.url.is_some() || store.enabled.is_some() {
        store.enabled.get_or_insert(false);
        return;
    }
    let (enabled, because) = if root.get("store").is_some() {
        (true, "the section stands")
    } else if addresses.leads_to_store {
        (true, "the application names a Redis")
    } else {
        (false, "the application names no Redis")
    };
    store.enabled = Some(enabled);
    found.fill("store", "enabled", enabled.to_string(), because);
}

/// `APP_ENV` in the framework's own word, where the application sets none itself.
fn app_env_for_children(dotenv: &DotEnv, framework: Framework, env: AppEnv) -> Option<(String, String)> {
    let silent =
        dotenv.get("APP_ENV").is_none() || dotenv.origin("APP_ENV") == crate::dotenv::symfony::DEFAULT;
    let word = match (framework, env) {
        (Framework::Laravel, AppEnv::Production) => "production",
        (Framework::Laravel, AppEnv::Development) => "local",
        (Framework::Symfony, AppEnv::Production) => "prod",
        (Framework::Symfony, AppEnv::Development) => "dev",
        _ => return None,
    };
    silent.then(|| ("APP_ENV".to_owned(), word.to_owned()))
}

fn unserved(root: &Table) -> Vec<Finding> {
    let finding = |entry: &document::Entry| {
        let place = format!("{}:{}", entry.place.file, entry.place.line);
        let what = format!("[{}] is read and checked, but not yet served by this version", entry.name);
        Finding::new(
            Severity::Warning,
            place,
            what,
            "nothing to do; it takes effect with the version that serves it",
        )
    };
    settings::unserved(root).into_iter().map(finding).collect()
}

fn fill_gateway(config: &mut Config, application: &Application, found: &mut Detected<'_>) {
    match config.gateway.front_controller.as_deref() {
        // Written as "": none, also for a framework.
        Some("") => config.gateway.front_controller = None,
        Some(_) => {}
        None => {
            config.gateway.front_controller.clone_from(&application.front_controller);
            if let Some(script) = &application.front_controller {
                found.fill("gateway", "front_controller", format!("\"{script}\""), &application.title());
            }
        }
    }
    // Folders that were found stay closed beside those that are written.
    for folder in &application.upload_folders {
        if !config.gateway.upload_folders.contains(folder) {
            config.gateway.upload_folders.push(folder.clone());
        }
    }
    if !application.upload_folders.is_empty() {
        let value = format!("{:?}", config.gateway.upload_folders);
        found.fill("gateway", "upload_folders", value, "the folder's files");
    }
}

fn fill_pool(
    name: &str,
    pool: &mut Pool,
    application: &Application,
    (base, env): (&Path, AppEnv),
    found: &mut Detected<'_>,
) {
    if pool.url.is_some() {
        return;
    }
    let section = format!("php.{name}");
    let web = name == "web";
    if pool.mode.is_none() {
        // A script that somebody wrote is there to be run in a loop.
        let (mode, because) = match web {
            _ if pool.script.is_some() => (Mode::Worker, "script is set".to_owned()),
            true => application.mode(env),
            false => (Mode::Classic, "no worker runtime is configured".to_owned()),
        };
        pool.mode = Some(mode);
        found.fill(&section, "mode", format!("\"{mode}\""), &because);
    }
    // In rewind mode the application runs as it is, without the runner of a worker.
    if pool.mode() != Mode::Worker {
        return;
    }
    if pool.script.is_none()
        && let Some(runner) = application.runner.as_ref().filter(|_| web)
    {
        pool.script = Some(PathBuf::from(&runner.script));
        found.fill(&section, "script", format!("\"{}\"", runner.script), runner.name);
    }
    let runs = |runner: &&Runner| pool.script.as_deref() == Some(Path::new(&runner.script));
    if let Some(runner) = application.runner.as_ref().filter(runs) {
        for (variable, value) in runner.environment(base, &application.public, pool) {
            pool.env.entry(variable).or_insert(EnvValue(value));
        }
    }
}

/// Rows of `--show` that detection fills in.
struct Detected<'a> {
    shown: &'a mut Vec<Shown>,
}

impl Detected<'_> {
    fn fill(&mut self, section: &str, key: &str, value: String, how: &str) {
        let written = self.shown.iter().any(|row| {
            row.section == section
                && row.key == key
                && row.origin != Origin::Default
                && key != "upload_folders"
        });
        if !written {
            self.note(section, key, value, Origin::Detected(how.to_owned()));
        }
    }

    fn note(&mut self, section: &str, key: &str, value: String, origin: Origin) {
        if let Some(row) = self.shown.iter_mut().find(|row| row.section == section && row.key == key) {
            row.value = value;
            row.origin = origin;
        }
    }
}
