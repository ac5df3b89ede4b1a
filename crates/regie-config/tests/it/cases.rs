//! Folders as people have them, and what is made of them.

use regie_config::values::{AppEnv, Framework, Mode};
use regie_config::{Options, Severity, shell};

use crate::folder::{Folder, variables};

fn lines(rows: &[impl ToString]) -> Vec<String> {
    rows.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_folder_is_served_as_it_is() {
    let loaded = Folder::new(&[("index.php", "<?php")]).load(&[]).unwrap();
    assert_eq!(loaded.application.framework, Framework::Plain);
    assert_eq!((loaded.env, loaded.env_origin.to_string().as_str()), (AppEnv::Development, "default"));
    assert_eq!(loaded.public().to_str(), Some("./"));
    assert_eq!(loaded.config.gateway.front_controller, None);
    assert_eq!((loaded.web().mode(), loaded.web().max_requests()), (Mode::Classic, 0));
    assert_eq!(lines(&loaded.warnings), [""; 0]);
}

#[test]
fn a_laravel_application_with_docker_names() {
    let folder = Folder::new(&[
        ("artisan", "#!/usr/bin/env php"),
        ("bootstrap/cache/", ""),
        ("public/index.php", "<?php"),
        ("public/storage/x.jpg", ""),
        (
            ".env",
            "APP_ENV=local\nAPP_KEY=base64:x\nCACHE_DRIVER=redis\nREDIS_HOST=redis.invalid-compose\nDB_HOST=db\n",
        ),
        ("regie.toml", "[hosts]\ndb = \"10.0.0.7\"\n"),
        ("composer.lock", r#"{"packages": [{"name": "laravel/framework", "version": "v8.83.26"}]}"#),
    ]);
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(loaded.application.title(), "Laravel 8.83.26");
    assert_eq!(
        (loaded.env, loaded.env_origin.to_string().as_str()),
        (AppEnv::Development, "APP_ENV in .env")
    );
    assert_eq!(loaded.config.gateway.front_controller.as_deref(), Some("index.php"));
    assert_eq!(loaded.config.gateway.upload_folders, ["storage"]);
    assert_eq!(
        lines(&loaded.decisions),
        ["REDIS_HOST redis.invalid-compose → nothing behind it", "DB_HOST db → 10.0.0.7"]
    );
    assert_eq!(loaded.child_environment, variables(&[("DB_HOST", "10.0.0.7")]));
}

#[test]
fn octane_and_symfonys_runtime_choose_worker_mode() {
    let octane = |config: &'static str, stub: bool| {
        let mut files = vec![
            ("artisan", ""),
            ("bootstrap/app.php", ""),
            ("public/index.php", "<?php"),
            ("config/octane.php", config),
            ("vendor/laravel/octane/bin/frankenphp-worker.php", "<?php"),
            (
                "vendor/composer/installed.json",
                r#"{"packages": [{"name": "laravel/octane", "version": "v2.3"}]}"#,
            ),
        ];
        if stub {
            files.push(("public/frankenphp-worker.php", "<?php"));
        }
        let folder = Folder::new(&files);
        let loaded = folder.load(&[]).unwrap();
        let script = loaded.web().script.as_ref().map(|script| script.to_str().unwrap().to_owned());
        if script.is_some() {
            let env = |name: &str| loaded.web().env[name].0.clone();
            assert_eq!(env("APP_BASE_PATH"), folder.path().to_str().unwrap());
            assert_eq!(env("APP_PUBLIC_PATH"), folder.path().join("public").to_str().unwrap());
            assert_eq!((env("MAX_REQUESTS"), env("LARAVEL_OCTANE")), ("500".to_owned(), "1".to_owned()));
        }
        (loaded.web().mode(), script)
    };
    let named = "<?php return [\n    'server' => env('OCTANE_SERVER', 'frankenphp'),\n];";
    let other = "<?php return [\n    'server' => env('OCTANE_SERVER', 'roadrunner'),\n];";
    let vendor = "vendor/laravel/octane/bin/frankenphp-worker.php";
    assert_eq!(octane(named, false), (Mode::Worker, Some(vendor.to_owned())));
    assert_eq!(octane(named, true), (Mode::Worker, Some("public/frankenphp-worker.php".to_owned())));
    assert_eq!(octane(other, true), (Mode::Worker, Some("public/frankenphp-worker.php".to_owned())));
    assert_eq!(octane(other, false), (Mode::Classic, None));

    let symfony = |packages: &str, front: &'static str| {
        let installed = format!(r#"{{"packages": [{packages}]}}"#);
        let files = [
            ("bin/console", ""),
            ("src/Kernel.php", "<?php"),
            ("public/index.php", front),
            ("vendor/composer/installed.json", &installed),
        ];
        let loaded = Folder::new(&files).load(&[]).unwrap();
        assert_eq!(loaded.application.framework, Framework::Symfony);
        let env: Vec<String> =
            loaded.web().env.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
        (loaded.web().mode(), env.join(" "))
    };
    let front = "<?php require_once dirname(__DIR__).'/vendor/autoload_runtime.php';";
    let runtime = |version: &str| format!(r#"{{"name": "symfony/runtime", "version": "v{version}"}}"#);
    let franken = r#"{"name": "runtime/frankenphp-symfony", "version": "0.2.0"}"#;
    assert_eq!(symfony(&runtime("7.4.1"), front), (Mode::Worker, "FRANKENPHP_LOOP_MAX=500".to_owned()));
    assert_eq!(symfony(&runtime("6.4.0"), front), (Mode::Classic, String::new()));
    let (mode, env) = symfony(&format!("{}, {franken}", runtime("6.4.0")), front);
    assert_eq!(
        (mode, env.as_str()),
        (Mode::Worker, "APP_RUNTIME=Runtime\\FrankenPhpSymfony\\Runtime FRANKENPHP_LOOP_MAX=500")
    );
    assert_eq!(symfony(&runtime("8.0.0"), "<?php echo 1;"), (Mode::Classic, String::new()));
}

/// Rewind mode is for what Régie has a boot script for, where nobody changes files at any moment.
#[test]
fn laravel_and_symfony_rewind_in_production() {
    let laravel = |version: &str| {
        format!(r#"{{"packages": [{{"name": "laravel/framework", "version": "{version}"}}]}}"#)
    };
    let (new, old) = (laravel("v8.83.26"), laravel("v7.30.6"));
    let front = ("public/index.php", "<?php");
    let artisan = |installed| [("artisan", ""), front, ("vendor/composer/installed.json", installed)];
    let symfony = [("bin/console", ""), ("src/Kernel.php", "<?php"), front];
    let runtime = ("vendor/autoload_runtime.php", "<?php");
    let folder_settings = ("public/.user.ini", "upload_max_filesize = 1G\n");
    let (toml, production) =
        (("regie.toml", "[php.web]\nmode = \"rewind\"\n"), (".env", "APP_ENV=production\n"));
    for (files, env, mode, is_detected) in [
        (artisan(&new).to_vec(), "production", Mode::Rewind, true),
        (artisan(&new).to_vec(), "staging", Mode::Rewind, true),
        (artisan(&new).to_vec(), "local", Mode::Classic, true),
        (artisan(&old).to_vec(), "production", Mode::Classic, true),
        ([&artisan(&new)[..], &[folder_settings]].concat(), "production", Mode::Classic, true),
        ([&artisan(&new)[..], &[toml]].concat(), "local", Mode::Rewind, false),
        ([&symfony[..], &[runtime]].concat(), "prod", Mode::Rewind, true),
        ([&symfony[..], &[runtime]].concat(), "dev", Mode::Classic, true),
        (symfony.to_vec(), "prod", Mode::Classic, true),
        (vec![("index.php", "<?php"), production], "production", Mode::Classic, true),
    ] {
        let loaded = Folder::new(&files).load(&[("APP_ENV", env)]).unwrap();
        let found = (loaded.web().mode(), loaded.web_mode_is_detected);
        assert_eq!(found, (mode, is_detected), "{env}: {files:?}");
    }
}

#[test]
fn a_front_controller_can_be_taken_away() {
    let wordpress = [("wp-load.php", ""), ("index.php", "")];
    let with = |toml: &str| {
        let files: Vec<_> = wordpress.iter().copied().chain([("regie.toml", toml)]).collect();
        Folder::new(&files).load(&[]).unwrap().config.gateway.front_controller
    };
    assert_eq!(with("").as_deref(), Some("index.php"));
    assert_eq!(with("[gateway]\nfront_controller = \"app.php\"\n").as_deref(), Some("app.php"));
    assert_eq!(with("[gateway]\nfront_controller = \"\"\n"), None);
}

#[test]
fn a_folder_of_php_files_may_have_a_front_controller() {
    const REWRITE: &str =
        "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^ index.php [L]\n";
    let with = |toml: &str, script: &str| {
        let files = [(script, "<?php"), (".htaccess", REWRITE), ("regie.toml", toml)];
        Folder::new(&files).load(&[]).unwrap().config.gateway.front_controller
    };
    assert_eq!(with("", "index.php").as_deref(), Some("index.php"));
    assert_eq!(with("[gateway]\nfront_controller = \"app.php\"\n", "index.php").as_deref(), Some("app.php"));
    assert_eq!(with("[gateway]\nfront_controller = \"\"\n", "index.php"), None);
    assert_eq!(with("", "other.php"), None, "there is no such script");
}

#[test]
fn a_wordpress_is_known_by_its_files() {
    let loaded = Folder::new(&[
        ("wp-load.php", "<?php"),
        ("index.php", "<?php"),
        ("wp-includes/version.php", "<?php\n$wp_version = '6.5.2';\n"),
        ("wp-content/uploads/2024/", ""),
        (".htaccess", "# BEGIN WordPress\nRewriteRule . /index.php [L]\n"),
        ("wp-content/uploads/private/.htaccess", "Deny from all\n"),
    ])
    .load(&[])
    .unwrap();
    assert_eq!(loaded.application.title(), "WordPress 6.5.2");
    assert_eq!(loaded.application.writable, ["wp-content/uploads"]);
    assert_eq!(loaded.config.gateway.upload_folders, ["wp-content/uploads"]);
    let rules = &loaded.htaccess.rules;
    assert!(rules.access.denies("/wp-content/uploads/private/a") && rules.leave_requests_alone());
    assert_eq!(loaded.config.gateway.front_controller.as_deref(), Some("index.php"));
}

#[test]
fn production_comes_from_the_file_or_from_app_env() {
    for (toml, env, expected, origin) in [
        ("[app]\nenv = \"production\"\n", "", AppEnv::Production, "regie.toml:2"),
        ("", "APP_ENV=production", AppEnv::Production, "APP_ENV in .env"),
        ("", "APP_ENV=staging", AppEnv::Production, "APP_ENV in .env"),
        ("", "APP_ENV=local", AppEnv::Development, "APP_ENV in .env"),
        ("", "", AppEnv::Development, "default"),
    ] {
        let folder = Folder::new(&[
            ("regie.toml", toml),
            (".env", env),
            ("regie.production.toml", "[php.web]\nworkers = 8\n"),
            ("regie.local.toml", "[php.web]\nworkers = 2\n"),
        ]);
        let loaded = folder.load(&[]).unwrap();
        assert_eq!((loaded.env, loaded.env_origin.to_string().as_str()), (expected, origin), "{toml}{env}");
        let (workers, file) = if expected == AppEnv::Production {
            ("8", "regie.production.toml")
        } else {
            ("2", "regie.local.toml")
        };
        let row = loaded.shown.iter().find(|row| row.section == "php.web" && row.key == "workers").unwrap();
        assert_eq!((row.value.as_str(), row.origin.to_string()), (workers, format!("{file}:2")));
    }
    let forced = Options { env: Some(AppEnv::Production), ..Options::default() };
    let loaded = shell::load(Folder::new(&[]).path(), &forced, &variables(&[])).unwrap();
    assert_eq!(loaded.env, AppEnv::Production);
}

#[test]
fn the_children_get_an_app_env_where_the_application_has_none() {
    let symfony = [("bin/console", ""), ("src/Kernel.php", ""), ("public/index.php", "")];
    for (env, expected) in [("", Some("prod")), ("APP_ENV=prod", None)] {
        let files: Vec<_> = symfony
            .iter()
            .copied()
            .chain([("regie.toml", "[app]\nenv = \"production\"\n"), (".env", env)])
            .collect();
        let loaded = Folder::new(&files).load(&[]).unwrap();
        assert_eq!(loaded.child_environment.get("APP_ENV").map(String::as_str), expected, "{env}");
    }
    let files: Vec<_> = symfony
        .iter()
        .copied()
        .chain([("regie.toml", "[app]\nenv = \"production\"\n"), (".env", "APP_ENV=dev")])
        .collect();
    let loaded = Folder::new(&files).load(&[]).unwrap();
    assert_eq!(
        lines(&loaded.warnings),
        ["warning: .env: [app] env says production, the application's own APP_ENV says development\n  \
          fix: set APP_ENV to match, or leave [app] env out"]
    );
}

#[test]
fn values_are_put_in_and_secrets_stay_hidden() {
    let secret = Folder::new(&[("token", "from-a-file\n")]);
    let toml = format!(
        "[app]\nuser = \"${{DEPLOY_USER}}\"\n[php.web]\nworkers = \"${{WORKERS}}\"\nenv = {{ API_TOKEN = \"t\", REGION = \"$${{x}}\", FILE = \"${{file:{}}}\" }}\n\
         [mercure]\njwt_secret = \"${{JWT}}\"\n",
        secret.path().join("token").display()
    );
    let folder = Folder::new(&[("regie.toml", &toml), (".env", "JWT=hidden\nWORKERS=6\n")]);
    let loaded = folder.load(&[("DEPLOY_USER", "deploy")]).unwrap();
    assert_eq!(loaded.config.app.user.as_deref(), Some("deploy"));
    assert_eq!(loaded.web().workers.to_string(), "6");
    assert_eq!(loaded.web().env["REGION"].0, "${x}");
    assert_eq!(loaded.web().env["FILE"].0, "from-a-file");
    assert_eq!(loaded.config.mercure.jwt_secret.as_ref().unwrap().reveal(), "hidden");
    let shown = regie_config::reference::show(&loaded.shown);
    assert!(shown.contains("regie.toml:2 and environment"), "{shown}");
    for hidden in ["hidden", "from-a-file", "\"t\""] {
        assert!(!shown.contains(hidden), "{hidden} is shown in\n{shown}");
    }
    let debug = format!("{loaded:?}");
    for hidden in ["hidden", "from-a-file", "\"t\""] {
        assert!(!debug.contains(hidden), "{hidden} is in {debug}");
    }
}

#[test]
fn what_is_not_served_yet_is_said() {
    let folder =
        Folder::new(&[("regie.toml", "[console]\nenabled = true\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n")]);
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    assert!(loaded.warnings[0].to_string().starts_with(
        "warning: regie.toml:1: [console] is read and checked, but not yet served by this version"
    ));
}

#[test]
fn scheduled_tasks_are_checked_whole() {
    let folder = Folder::new(&[(
        "regie.toml",
        "[schedule]\nenable = true\n\
         [schedule.report]\ncron = \"60 * * * *\"\ncommand = \"true\"\n\
         [schedule.never]\ncron = \"0 0 30 2 *\"\ncomand = \"true\"\n\
         [schedule.zone]\ncron = \"@daily\"\ntimezone = \"Mars/Olympus\"\n",
    )]);
    let faults = folder.load(&[]).unwrap_err().to_string();
    for expected in [
        "regie.toml:2:1: unknown key \"enable\" in [schedule]; did you mean \"enabled\"?",
        "regie.toml:4:8: expects a cron expression such as \"30 3 * * *\": \"60\" is no minute: 0 to 59",
        "it would never be due",
        "unknown key \"comand\" in [schedule.never]; did you mean \"command\"?",
        "\"Mars/Olympus\" is no time zone",
        "[schedule.zone] has no command; add command = \"php artisan report:send\"",
    ] {
        assert!(faults.contains(expected), "{expected} is not in\n{faults}");
    }
}

#[test]
fn the_application_may_lie_below_the_configuration() {
    let folder = Folder::new(&[
        ("regie.toml", "[app]\nroot = \"backend\"\npublic = \"web\"\n"),
        ("backend/web/index.php", "<?php"),
        ("backend/.env", "APP_ENV=production\n"),
    ]);
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(loaded.public().to_str(), Some("backend/web"));
    assert_eq!(loaded.env, AppEnv::Production);
}
