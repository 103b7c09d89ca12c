//! Scenarios of extreme values: each is valid or refused with a message, within the bounds that the documentation states, and
//! none makes the parser panic.

use kernel::{
    scenario::{Scenario, limits, reference::reference},
    visible::is_hidden,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// A file with one item of each list, so that every path leads somewhere.
const FILE: &str = "name = \"story\"\nduration = \"2s\"\nload = { rate = 5 }\n\
    [[fault]]\nat = \"1s\"\nkind = \"slow\"\nfactor = 2\ntarget = \"server-0\"\n\
    [[expect]]\nmetric = \"retries\"\nmax = 9\n";

/// Returns the paths of all keys as `--set` takes them.
fn paths() -> Vec<String> {
    reference().into_iter().map(|key| key.path.replace(".N", ".0")).collect()
}

/// Values of every type, at the ends of their ranges and beyond.
fn value() -> impl Strategy<Value = String> {
    let numbers =
        ["0", "-0.0", "1", "-1", "1e308", "-1e308", "5e-324", "nan", "inf", "9223372036854775807", "64", "100"];
    let huge = ["-9223372036854775808", "18446744073709551616", "0xffffffff", "1_000_000", "1000000.0", "0.001", "0.0"];
    let times = ["0s", "1ns", "1ms", "24h", "24h1ns", "584y", "-1s", "213503982334h", "0.0000000001s"];
    let sizes =
        ["1x1", "[\"1x1\"]", "[\"4096x4096\"]", "[\"16384x1024\", \"1x16384\"]", "0x0", "[\"99999999999x1\"]", "[]"];
    let words =
        ["on", "off", "\"\"", "*", "[\"server-0\", \"server-1\"]", "true", "1979-05-27", "{}", "[[]]", "1bit", "1tbit"];
    let kinds =
        ["crash", "freeze", "reset", "partition", "stale", "dfs", "backend", "poisson", "pick_first", "call", "full"];
    let listed = [&numbers[..], &huge, &times, &sizes, &words, &kinds].concat();
    prop_oneof![
        4 => select(listed).prop_map(str::to_owned),
        1 => (1..20_000_usize).prop_map(|count| "x".repeat(count)),
        1 => (1..300_usize).prop_map(|count| format!("[{}]", "\"8x8\", ".repeat(count))),
        1 => (1..30_000_usize).prop_map(|count| "[".repeat(count)),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn a_scenario_of_extreme_values_is_within_bounds_or_refused(
        settings in vec((select(paths()), value()), 0..6),
        depth in 0..30_usize,
    ) {
        let mut settings: Vec<_> = settings.iter().map(|(path, value)| format!("{path}={value}")).collect();
        if depth > 20 {
            settings.push(format!("{}=1", vec!["x"; depth * 1_000].join(".")));
        }
        match Scenario::parse("story.toml", FILE, &settings) {
            Ok(scenario) => {
                let requests = scenario.load.requests(scenario.duration);
                prop_assert!(requests <= limits::REQUESTS_MAX);
                let interval = scenario.client.health_check.as_ref().map_or(std::time::Duration::MAX, |check| check.interval);
                let checks = scenario.duration.as_secs_f64() / interval.as_secs_f64();
                prop_assert!(checks * scenario.servers.replicas as f64 <= limits::CHECKS_MAX);
                let text = scenario.explicit(7).to_toml();
                prop_assert!(text.len() as u64 <= limits::FILE_BYTES_MAX);
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.len() < 12_000, "{} bytes", message.len());
                prop_assert!(!message.contains(|c| is_hidden(c) && c != '\n'), "{message:?}");
            }
        }
    }
}

#[test]
fn the_bounds_of_lists_can_be_reached() {
    let fault =
        |index: usize| format!("[[fault]]\nat = \"{}us\"\nkind = \"reset\"\ntarget = \"server-0\"\n", index % 100);
    let most = (0..limits::FAULTS_MAX).map(fault).collect::<String>();
    let head = "name = \"story\"\nduration = \"2s\"\nload = { rate = 5 }\n";
    let scenario = Scenario::parse("most.toml", &format!("{head}{most}"), &[]).unwrap();
    assert_eq!(scenario.faults.len(), limits::FAULTS_MAX);
    let again = Scenario::parse("again.toml", &scenario.to_toml(), &[]).unwrap();
    assert_eq!(again, scenario);
    let more = Scenario::parse("more.toml", &format!("{head}{most}{}", fault(0)), &[]).unwrap_err().to_string();
    assert!(more.starts_with("there are 10001 [[fault]]; allowed are up to 10000\n"), "{more}");
}

#[test]
fn of_many_mistakes_the_first_are_reported() {
    let keys = (0..1_000).map(|index| format!("k{index} = 1\n")).collect::<String>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.toml");
    std::fs::write(&file, format!("{keys}{FILE}")).unwrap();
    let mistakes = Scenario::check(&file, &[]).unwrap_err();
    assert_eq!(mistakes.len(), 50);
    assert!(mistakes[0].to_string().starts_with("unknown key `k0` at the top of the file"));
}

#[test]
fn a_long_line_is_shown_around_the_mistake() {
    let text =
        format!("name = \"story\"\nload = {{ {}rate = 5, rat = 1, {} }}", " ".repeat(5_000), "# x".repeat(5_000));
    let shown = Scenario::parse("long.toml", &text.replace("# x", "a=1,"), &["duration=9s".to_owned()])
        .unwrap_err()
        .to_string();
    assert!(shown.lines().all(|line| line.chars().count() < 220), "{shown}");
}
