//! `.env` files read by us and by the real parsers of Debian's packages, on the same inputs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use regie_config::dotenv::{DotEnv, Variables, phpdotenv, symfony};
use regie_config::shell;
use regie_config::values::Framework;
use serde_json::{Value, json};

use crate::folder::{Folder, variables};

/// What the real parsers make of `cases`, each `[reader, input, environment]`.
fn ask_php(cases: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dotenv_parity.php");
    let mut php = Command::new("php8.2")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("php8.2 cannot be run ({why}): apt install php8.2-cli"));
    let mut input = php.stdin.take().unwrap();
    let text = serde_json::to_string(cases).unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = php.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the real parsers cannot be run: {said}");
    writer.join().unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answer as values, or `None` for a fault.
fn values(answer: &Value) -> Option<Variables> {
    let object = answer["values"].as_object()?;
    Some(
        object
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    )
}

const ENVIRONMENT: [(&str, &str); 2] = [("REAL", "real value"), ("APP_ENV", "prod")];

/// Compares each text in both dialects; at least a tenth of them must be ones that the real parser takes, so that
/// the comparison is of values and not of refusals.
fn compare(texts: &[String]) {
    let environment = variables(&ENVIRONMENT);
    let cases: Vec<Value> = texts
        .iter()
        .flat_map(|text| ["phpdotenv", "symfony"].map(|reader| json!([reader, text, environment])))
        .collect();
    let answers = ask_php(&cases);
    assert_eq!(answers.len(), cases.len());
    for dialect in [0, 1] {
        let taken = answers.iter().skip(dialect).step_by(2).filter(|answer| values(answer).is_some()).count();
        assert!(taken * 10 > texts.len(), "only {taken} of {} files are taken", texts.len());
    }
    for (text, pair) in texts.iter().zip(answers.chunks(2)) {
        let ours = phpdotenv::parse(text, &environment);
        assert_eq!(
            ours.clone().ok(),
            values(&pair[0]),
            "phpdotenv reads {text:?}\nours {ours:?}\nreal {}",
            pair[0]
        );
        let ours = symfony::parse(text, &environment, &Variables::new());
        let ours_values = ours.clone().ok().map(|parsed| parsed.values);
        assert_eq!(ours_values, values(&pair[1]), "Symfony reads {text:?}\nours {ours:?}\nreal {}", pair[1]);
    }
}

#[test]
fn chosen_files_read_alike() {
    let texts = [
        "",
        "\n\n",
        "A=b",
        "A=b\nA=c",
        "A=",
        "A",
        "A=b\r\nB=c\rC=d",
        "  A=b",
        "A=b  ",
        "A = b",
        "A= b",
        "A =b",
        "export A=b",
        "export LONGNAME=b",
        "export",
        "export=x",
        "export  SPACES=x",
        "exportA=b",
        "# A=b",
        "A=b # c",
        "A=b#c",
        "A=#b",
        "A='b # c'",
        "A=\"b # c\" # d",
        "A='b",
        "A=\"b",
        "A=\"b\nc\"\nD=e",
        "A='b\nc'\nD=e",
        "A=\"b\\nc\\tx\"",
        "A=\"b\\qc\"",
        "A=\"b\\\\c\"",
        "A=b\\nc",
        "A=b\\\\c",
        "A='it'\"s\"",
        "A=it's",
        "A=\"a\"b",
        "A=\"a\" b",
        "A=a b",
        "A=${REAL}",
        "A=$REAL",
        "A=\"${REAL}\"",
        "A='${REAL}'",
        "A=\\${REAL}",
        "A=\"\\${REAL}\"",
        "A=\\\\${REAL}",
        "B=1\nA=${B}2",
        "B=1\nA=$B2",
        "B=1\nA=\"$B\"2",
        "A=${NONE}",
        "A=$NONE",
        "A=${NONE:-x}",
        "A=${NONE:=x}\nB=$NONE",
        "A=${REAL:-x}",
        "A=${NONE:-}",
        "A=${NONE:-$REAL}",
        "A=${REAL",
        "A=$",
        "A=$$",
        "A=$REAL}",
        "A=${}",
        "A=$}",
        "A=${:-x}",
        "REAL=other",
        "APP_ENV=dev\nA=$APP_ENV",
        "A.B=c",
        "A-B=c",
        "1A=b",
        "_A=b",
        "__A=b",
        "É=b",
        "A=é",
        "A=\"é\"",
        "=b",
        "A==b",
        "A=b=c",
        "'A'=b",
        "\"A\"=b",
        "A=\"\"",
        "A=''",
        "A=\"\\\"\"",
        "A=\\\"b",
        "A=\"x\"\"y\"",
        "A=\"a\\\"b\"",
        "A=null",
        "A=\"one\ntwo\nthree\"\nB=\"four\"",
        "# x=\"y\nA=b",
        "A=\"b\"#c",
        "A='b'#c",
        "A='b' #c",
        "A=${REAL}${REAL}",
        "A=${${REAL}}",
        "A=\"a\tb\"",
        "A=\ta",
        "A=a\t#b",
        "A=a\t# b",
        "\u{feff}A=b",
        "A=b\\",
        "A=\"b\\\"",
        "A=b\n\n\n# c\n  \nD=e\n",
        "DATABASE_URL=\"mysql://app:!ChangeMe!@127.0.0.1:3306/app?serverVersion=8.0.32&charset=utf8mb4\"",
        "APP_KEY=base64:2fl+Ktvkfl+Fuz4Qp/A75G2RTiWVA/ZoKZvp6fiiM10=\nAPP_NAME=\"My ${APP_ENV} app\"\nMAIL_FROM_NAME=\"${APP_NAME}\"",
    ];
    compare(&texts.map(str::to_owned));
}

/// Random files over the characters that mean something. No parentheses: Symfony would run a command.
#[test]
fn random_files_read_alike() {
    const FILES: usize = 4000;
    const PIECES: [&str; 28] = [
        "A", "B", "REAL", "=", "=", "=", "\"", "\"", "'", "$", "${", "}", "\\", "#", " ", "\t", "\n", "\n",
        "x", "y1", "_", ".", ":-", ":=", "export ", "é", "n", "-",
    ];
    let mut seed: u64 = std::env::var("REGIE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(8);
    let shown = seed;
    let mut next = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % limit
    };
    let texts: Vec<String> = (0..FILES)
        .map(|_| {
            let name = ["A=", "B=", "LONG_NAME=", ""][next(4)];
            let tail: String = (0..next(9)).map(|_| PIECES[next(PIECES.len())]).collect();
            let more: String = (0..next(9)).map(|_| PIECES[next(PIECES.len())]).collect();
            format!("{name}{tail}\nC={more}")
        })
        .collect();
    eprintln!("REGIE_SEED={shown}");
    compare(&texts);
}

#[test]
fn symfonys_files_are_read_in_its_order() {
    let dumped = "<?php\n\nreturn array (\n  'APP_ENV' => 'prod',\n  'A' => 'it\\'s \\\\ dumped',\n);\n";
    let sets: [&[(&str, &str)]; 9] = [
        &[(".env", "A=1\nB=$A")],
        &[(".env.dist", "A=dist")],
        &[(".env", "A=1\nB=1"), (".env.dist", "A=dist"), (".env.local", "A=2\nC=$B$A")],
        &[
            (".env", "APP_ENV=prod\nA=1\nB=1"),
            (".env.prod", "A=3\nC=${A}x"),
            (".env.prod.local", "B=4\nD=$A$B"),
            (".env.dev", "A=9"),
        ],
        &[(".env", "APP_ENV=test\nA=1"), (".env.local", "A=2"), (".env.test", "B=3")],
        &[(".env", "A=1"), (".env.local", "APP_ENV=prod"), (".env.prod", "A=prod"), (".env.dev", "A=dev")],
        &[(".env", "A=1"), (".env.local.php", dumped)],
        &[(".env", "APP_ENV=local\nA=1"), (".env.local", "A=2"), (".env.local.local", "A=3")],
        &[(".env", "A=\"x y\"\nB='z'"), (".env.dev", "A=${A}+\nREAL=no\nC=$REAL")],
    ];
    let environments: [&[(&str, &str)]; 3] = [&[], &[("APP_ENV", "dev")], &[("REAL", "yes"), ("B", "real")]];
    let folders: Vec<Folder> = sets.iter().map(|set| Folder::new(set)).collect();
    let mut cases = Vec::new();
    for folder in &folders {
        cases.extend(environments.iter().map(|env| json!(["boot", folder.path(), variables(env)])));
    }
    let answers = ask_php(&cases);
    for (case, answer) in cases.iter().zip(&answers) {
        let folder = shell::Folder::new(case[1].as_str().unwrap());
        let environment: Variables = serde_json::from_value(case[2].clone()).unwrap();
        let env = DotEnv::read(&folder, Framework::Symfony, &environment);
        let ours: Variables =
            env.names().map(|name| (name.to_owned(), env.get(name).unwrap().to_owned())).collect();
        assert_eq!(Some(ours), values(answer), "{case}\n{answer}");
    }
}
