//! What a user reads when a scenario is wrong. Every file in `tests/invalid` has one mistake in it; every message is a
//! snapshot, to be read as a user would.

use std::{fs, path::Path};

use kernel::scenario::{Place, Scenario, ScenarioError};

const VALID: &str = r#"
name = "story"
duration = "60s"

[load]
rate = 5.0

[[fault]]
at = "25s"
kind = "freeze"
target = "server-0"

[[fault]]
at = "45s"
kind = "reset"
target = "*"
"#;

fn parse(overrides: &[&str]) -> Result<Scenario, ScenarioError> {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    Scenario::parse("story.toml", VALID, &overrides)
}

#[test]
fn the_error_of_every_invalid_file_has_a_mistake_a_place_and_a_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 80, "the folder of invalid files was found");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let error = Scenario::parse(&format!("{name}.toml"), &text, &[]).expect_err(name);
        insta::assert_snapshot!(name, error);
    }
}

#[test]
fn the_error_of_every_wrong_override_names_the_command_line() {
    let wrong = [
        "client.deadline",
        "=5",
        "client..deadline=5s",
        "client.retry.max_attemps=1",
        "client.deadline=10",
        "client.deadline=",
        "client.hedging.max_attempts=1",
        "client.load_balancing.policy=fastest",
        "load.rate=-1",
        "load.rate.max=3",
        "load.arrivals=poison",
        "workload.sizes=[\"64x64\", \"64\"]",
        "fault.0.duraton=3s",
        "fault.0.target=server-7",
        "fault.2.duration=3s",
        "fault.first.duration=3s",
        "expect.0.max=3",
        "duration=30s",
        "replicas=3",
        "client.timeout=3s",
        "servers=3",
    ];
    let messages: Vec<_> = wrong.iter().map(|text| parse(&[text]).expect_err(text).to_string()).collect();
    insta::assert_snapshot!("overrides", messages.join("\n\n"));
}

#[test]
fn overrides_change_values_of_every_shape() {
    let changed = parse(&[
        "name=other",
        "client.deadline=5s",
        "client.attempt_timeout=\"2s\"",
        "client.retry.max_attempts=1",
        "client.retry.prefer_other_server=false",
        "workload.sizes=[\"64x64\", \"32x32\"]",
        "load.arrivals=poisson",
        "load.rate=20",
        "network.bandwidth=0",
        "fault.0.duration=3s",
        "fault.1.target=[\"server-1\"]",
        "load.rate = 40 ",
    ])
    .unwrap();
    let written = VALID
        .replace("story", "other")
        .replace("rate = 5.0", "rate = 40\narrivals = 'poisson'")
        .replace("\"*\"", "\"server-1\"")
        .replace("\"freeze\"", "\"freeze\"\nduration = '3s'");
    let tables = "[client]\ndeadline = '5s'\nattempt_timeout = '2s'\n\
        [client.retry]\nmax_attempts = 1\nprefer_other_server = false\n\
        [workload]\nsizes = ['64x64', '32x32']\n";
    assert_eq!(changed, Scenario::parse("written.toml", &format!("{written}{tables}"), &[]).unwrap());
}

#[test]
fn a_mistake_says_where_it_was_made() {
    let Err(ScenarioError::Invalid(mistake)) = parse(&["fault.0.kind=explode"]) else { panic!("it is wrong") };
    assert_eq!(mistake.place, Place::Override("fault.0.kind=explode".into()));
    assert_eq!(mistake.key.as_deref(), Some("fault.0.kind"));

    let text = VALID.replace("\"freeze\"", "\"explode\"");
    let Err(ScenarioError::Invalid(mistake)) = Scenario::parse("a.toml", &text, &[]) else { panic!("it is wrong") };
    assert_eq!(mistake.place, Place::File { origin: "a.toml".into(), position: Some((10, 8)) });
    assert_eq!(mistake.key.as_deref(), Some("fault.0.kind"));
}

#[test]
fn columns_are_counted_in_characters() {
    let text = format!("question = \"größer\" # é\n{VALID}").replace("# é\n", "\nduraton = 3 # é\n");
    let Err(ScenarioError::Invalid(mistake)) = Scenario::parse("a.toml", &text, &[]) else { panic!("it is wrong") };
    assert_eq!(mistake.place, Place::File { origin: "a.toml".into(), position: Some((2, 1)) });
    let inline = "name = \"ß\", nonsense";
    let shown = Scenario::parse("a.toml", inline, &[]).unwrap_err().to_string();
    assert!(shown.contains("a.toml:1:11"), "{shown}");
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", VALID.replace('\n', "\r\n"));
    assert_eq!(Scenario::parse("a.toml", &text, &[]).unwrap(), parse(&[]).unwrap());
    let wrong = text.replace("\"reset\"", "\"rest\"");
    let shown = Scenario::parse("a.toml", &wrong, &[]).unwrap_err().to_string();
    assert!(shown.contains("a.toml:15:8") && !shown.contains('\r'), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = std::env::temp_dir().join(format!("kernel-scenario-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let latin = folder.join("latin.toml");
    fs::write(&latin, b"name = \"gr\xfc\xdfe\"").unwrap();
    let absent = folder.join("absent.toml");
    for (path, reason) in [
        (&folder, "it is a directory; name a scenario file in it"),
        (&latin, "not UTF-8 text at byte 10; save it as UTF-8"),
        (&absent, "No such file or directory (os error 2); check its spelling and the folder it starts from"),
    ] {
        let shown = Scenario::load(path, &[]).unwrap_err().to_string();
        assert_eq!(shown, format!("cannot read {}: {reason}", path.display()));
    }
    let valid = folder.join("valid.toml");
    fs::write(&valid, VALID).unwrap();
    assert_eq!(Scenario::load(&valid, &[]).unwrap(), parse(&[]).unwrap());
    fs::remove_dir_all(&folder).unwrap();
}

/// Writes `text` to a file in a folder of its own and returns all its mistakes, as a user reads them.
fn all_mistakes(text: &str, overrides: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.toml");
    fs::write(&path, text).unwrap();
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    let mistakes = Scenario::check(&path, &overrides).expect_err(text);
    let folder = format!("{}/", folder.path().display());
    mistakes.iter().map(|mistake| format!("{mistake}\n\n").replace(&folder, "")).collect()
}

#[test]
fn a_check_reports_every_mistake_of_a_file_in_its_order() {
    let text = r#"
name = "a story"
duration = "60"
wait = true

[servers]
replicas = 2
workers = 0
queue = "many"

[load]
rte = 5.0

[client]
deadline = "1x"
hedging = 3

[client.retry]
max_attempts = 1000
jitter = "ful"

[client.circuit_breaker]
scop = "call"

[[fault]]
at = "25s"
kind = "freeze"
factor = 2.0
rate = 0.5
target = "server-0"

[[fault]]
at = "never"
kind = "slow"
target = "sever-1"

[[expect]]
metric = "success_rate"
min = 2.0
during = "fault-7"

[[expect]]
metric = "p98"
"#;
    insta::assert_snapshot!(all_mistakes(text, &["load.rate=x", "client.retry"]));
}

#[test]
fn what_follows_from_a_mistake_is_not_a_mistake_of_its_own() {
    // The fault's time and target are checked only against a duration and servers that are right themselves.
    let late = r#"
name = "late"
duration = "1 minute"
servers = { replicas = 0 }
load = { rate = 5.0 }
fault = [{ at = "90s", kind = "crash", target = "server-3" }]
"#;
    assert_eq!(all_mistakes(late, &[]).matches("-->").count(), 2);
    for follows in [
        "nam = 'x'\nduration = '5s'\n[load]\nrate = 5.0\n",
        "name = 'x'\nduration = '5s'\nload = 3\n",
        "name = 'x'\nduration = '5s'\n[laod]\nrate = 5.0\n",
    ] {
        assert_eq!(all_mistakes(follows, &[]).matches("-->").count(), 1, "{follows}");
    }
}

#[test]
fn the_first_mistake_of_a_check_of_an_invalid_file_is_among_all() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let mut several = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let first = Scenario::load(&file, &[]).unwrap_err();
        let all = Scenario::check(&file, &[]).unwrap_err();
        assert!(all.contains(&first), "{}: {first}\nis not among {all:?}", file.display());
        if all.len() > 1 {
            several.push(format!("{} {}", file.file_stem().unwrap().display(), all.len()));
        }
    }
    several.sort();
    // An empty file lacks three keys, and no guess says that `maximum` was meant to be `max`.
    assert_eq!(several, ["empty_file 3", "unknown_key_in_an_expectation 2"], "one mistake each");
}

#[test]
fn a_check_of_a_file_that_cannot_be_read_has_one_reason() {
    let errors = Scenario::check(Path::new("no/such/file.toml"), &[]).unwrap_err();
    assert!(matches!(&errors[..], [ScenarioError::Unreadable { .. }]), "{errors:?}");
}
