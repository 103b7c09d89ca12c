//! Help, completions and manual pages; the examples in the help are run.

use std::{env, fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use crate::command::{Ended, program, sim};

/// The subcommands that the help of `sim` shows.
const COMMANDS: [&str; 17] = [
    "run",
    "new",
    "list",
    "check",
    "keys",
    "schema",
    "service-config",
    "from-chaos",
    "to-chaos",
    "hunt",
    "incidents",
    "shrink",
    "tip",
    "sweep-job",
    "verify",
    "completions",
    "man",
];

/// Returns the lines of the section `title` in the help of a subcommand.
fn section(help: &str, title: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| line != &title).skip(1);
    lines.map_while(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

/// Returns the example with fewer runs; `None` if it would still take long.
fn shortened(example: &str) -> Option<String> {
    let is_long =
        ["sim tip ", "sim verify scenarios/*", "sim incidents runs/"].iter().any(|long| example.starts_with(long));
    (!is_long).then(|| {
        let fewer = [
            ("--runs 100 --calm-runs 2", "--runs 2 --calm-runs 0"),
            ("0..100", "0..2"),
            ("--for 10m", "--runs 2"),
            ("--runs 50", "--runs 2"),
        ];
        fewer.iter().fold(example.to_owned(), |line, (many, few)| line.replace(many, few))
    })
}

/// Runs a command line in `folder` as a user would who has installed `sim`.
fn shell(folder: &Path, line: &str) -> Ended {
    let programs = Path::new(env!("CARGO_BIN_EXE_sim")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
    Ended::after(program("bash").args(["-c", line]).env("PATH", path).current_dir(folder))
}

#[test]
fn the_commands_are_those_of_the_help() {
    let folder = TempDir::new().unwrap();
    let help = Ended::after(sim(folder.path()).arg("-h")).stdout;
    let shown: Vec<_> = section(&help, "Commands:");
    let shown: Vec<_> = shown.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(shown, [&COMMANDS[..], &["help"]].concat());
}

#[test]
fn every_example_in_the_help_works() {
    let folder = TempDir::new().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios"), folder.path().join("scenarios")).unwrap();
    // The run that an example of `shrink` names.
    shell(folder.path(), "sim run scenarios/crash.toml --set client.retry.max_attempts=1");
    let mut examples = 0;
    for command in COMMANDS {
        let help = Ended::after(sim(folder.path()).args([command, "--help"])).stdout;
        let codes: Vec<i32> = section(&help, "Exit codes:").iter().map(|line| line[..1].parse().unwrap()).collect();
        assert!(codes.starts_with(&[0]), "{help}");
        for example in section(&help, "Examples:").iter().filter_map(|example| shortened(example)) {
            let ended = shell(folder.path(), &example);
            assert!(matches!(ended.code, Some(code @ (0 | 1)) if codes.contains(&code)), "{example}: {ended:?}");
            // `service-config` says what has no place in one.
            let wrong: Vec<_> = ended.stderr.lines().filter(|line| !line.starts_with("note: ")).collect();
            assert_eq!(wrong, Vec::<&str>::new(), "{example}");
            examples += 1;
        }
    }
    assert!(examples > 15, "{examples}");
}

#[test]
fn commands_have_the_names_of_other_tools_as_well() {
    let folder = TempDir::new().unwrap();
    for (alias, name) in [("search", "hunt"), ("minimize", "shrink"), ("threshold", "tip")] {
        let [aliased, named] = [alias, name].map(|name| Ended::after(sim(folder.path()).args([name, "--help"])));
        assert_eq!((aliased.code, &aliased), (Some(0), &named));
    }
}

#[test]
fn an_installed_program_is_named_in_what_to_run_next() {
    let folder = TempDir::new().unwrap();
    let created = shell(folder.path(), "sim new first");
    assert_eq!(created.reported("check").trim_start(), "sim check first.toml");
    let first = shell(folder.path(), "sim first.toml --seed 3");
    assert_eq!(first.reported("replay"), "sim first.toml --seed 3");
    assert_eq!(shell(folder.path(), first.reported("replay")), first);
}

#[test]
fn completions_are_scripts_that_bash_accepts() {
    let folder = TempDir::new().unwrap();
    let script = "sim completions bash >sim.bash && bash -n sim.bash && source ./sim.bash && complete -p sim";
    let ended = shell(folder.path(), script);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("_sim"), "{ended:?}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let ended = Ended::after(sim(folder.path()).args(["completions", shell]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains("hunt") && ended.stdout.contains("calibration"), "{shell}");
    }
}

#[test]
fn manual_pages_name_every_option() {
    let folder = TempDir::new().unwrap();
    let written = Ended::after(sim(folder.path()).args(["man", "--out", "pages/man1"]));
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), "folder  pages/man1\n"));
    for command in COMMANDS {
        let page = fs::read_to_string(folder.path().join(format!("pages/man1/sim-{command}.1"))).unwrap();
        let page = page.replace("\\-", "-");
        let help = Ended::after(sim(folder.path()).args([command, "--help"])).stdout;
        let options = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next());
        for option in options {
            assert!(page.contains(&format!("--{option}")), "{command}: {option}");
        }
        assert!(page.contains("Examples:") && page.contains("Exit codes:"), "{page}");
    }
    assert!(!folder.path().join("pages/man1/sim-side.1").exists());
    assert!(folder.path().join("pages/man1/sim.1").exists());
}
