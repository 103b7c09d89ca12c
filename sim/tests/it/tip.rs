//! `sim tip` finds, prints and writes thresholds.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

/// One replica with one worker that takes 50 ms: it follows up to 20 requests a second.
const SCENARIO: &str = r#"name = "story"
duration = "20s"

[servers]
replicas = 1
workers = 1
queue = 10000
service_time_min = "50ms"

[workload]
sizes = ["8x8"]

[load]
rate = 5.0

[[fault]]
at = "5s"
kind = "freeze"
target = "server-0"
duration = "1s"

[[expect]]
metric = "latency_p50"
max = "300ms"
"#;

fn tip(folder: &TempDir, arguments: &[&str]) -> Ended {
    tip_along(SCENARIO, folder, arguments)
}

fn tip_along(scenario: &str, folder: &TempDir, arguments: &[&str]) -> Ended {
    fs::write(folder.path().join("story.toml"), scenario).unwrap();
    Ended::after(sim(folder.path()).args(["tip", "story.toml"]).args(arguments))
}

fn rows(folder: &TempDir, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_service_tips_where_it_is_asked_for_more_than_it_can_do() {
    let folder = TempDir::new().unwrap();
    let found = tip(&folder, &["--along", "load.rate=5..60"]);
    assert_eq!((found.code, &*found.stderr), (Some(0), ""), "{found:?}");
    let boundary = rows(&folder, "runs/story/tip-load-rate/boundary.jsonl");
    assert_eq!(boundary.len(), 1, "{boundary:?}");
    let (low, high) = (boundary[0]["low"].as_f64().unwrap(), boundary[0]["high"].as_f64().unwrap());
    assert!((15.0..=20.0).contains(&low) && high == low + 1.0, "{boundary:?}");
    let expected =
        format!("TIPS  story (sim): what the scenario expects holds with load.rate={low} and fails with {high}\n");
    assert!(found.stdout.starts_with(&expected), "{found:?}");
    for (side, code) in [("holds", 0), ("fails", 1)] {
        let replayed = Ended::printed(folder.path(), found.reported(side));
        assert_eq!(replayed.code, Some(code), "{replayed:?}");
    }
    let points = rows(&folder, "runs/story/tip-load-rate/points.jsonl");
    assert!(points.iter().all(|point| point["decided"] == true && point["runs"].as_u64() >= Some(5)), "{points:?}");
    // Again, over what is there.
    assert_eq!(tip(&folder, &["--along", "load.rate=5..60"]), found);
}

#[test]
fn runs_that_fail_and_hold_and_fail_again_have_two_boundaries() {
    let folder = TempDir::new().unwrap();
    // With few requests goodput is too low, with many latency is too high.
    let story = format!("{SCENARIO}\n[[expect]]\nmetric = \"goodput\"\nmin = 8.0\n");
    let along = ["--along", "load.rate=1..40"];
    let found = tip_along(&story, &folder, &along);
    assert_eq!((found.code, &*found.stderr), (Some(0), ""), "{found:?}");
    let boundary = rows(&folder, "runs/story/tip-load-rate/boundary.jsonl");
    let sides: Vec<_> = boundary.iter().map(|row| row["side"].as_str().unwrap()).collect();
    assert_eq!(sides, ["fails", "holds"]);
    for row in &boundary {
        let (low, high) = (row["low"].as_f64().unwrap(), row["high"].as_f64().unwrap());
        assert_eq!(high, low + 1.0);
    }
    let [first, second] = [0, 1].map(|index| boundary[index]["low"].as_f64().unwrap());
    let expected = format!(
        "fails with load.rate={first} and holds with {}, holds with {second} and fails with {}\n",
        first + 1.0,
        second + 1.0
    );
    assert!(found.stdout.contains(&expected), "{found:?}");
    assert!((6.0..=10.0).contains(&first) && (15.0..=20.0).contains(&second), "{boundary:?}");
    let unseen = "9 values were asked first, up to 5 apart: what tips and tips back between two of them is not seen";
    assert!(found.stdout.contains(unseen), "{found:?}");
    // Both ends fail: with only two samples the error says that there may be more between them.
    let ends = tip_along(&story, &folder, &[&along[..], &["--samples", "2", "--out", "ends"]].concat());
    assert_eq!(ends.code, Some(2), "{ends:?}");
    assert!(
        ends.stderr.contains("of 2 values asked, what the scenario expects fails at all; widen the range, or look"),
        "{ends:?}"
    );
}

#[test]
fn values_are_spaced_by_ratio_where_that_is_asked() {
    let folder = TempDir::new().unwrap();
    let found = tip(&folder, &["--along", "load.rate=2..128", "--log", "load.rate", "--samples", "7"]);
    assert_eq!((found.code, &*found.stderr), (Some(0), ""), "{found:?}");
    let place = "runs/story/tip-load-rate";
    let first: Vec<_> =
        rows(&folder, &format!("{place}/points.jsonl"))[..7].iter().map(|row| row["along"].as_f64().unwrap()).collect();
    assert!(first.windows(2).all(|pair| pair[1] > 1.5 * pair[0]), "{first:?}");
    let boundary = rows(&folder, &format!("{place}/boundary.jsonl"));
    assert!((15.0..=20.0).contains(&boundary[0]["low"].as_f64().unwrap()), "{boundary:?}");
    assert!(found.stdout.contains("7 values were asked first, apart by a factor of up to "), "{found:?}");
}

#[test]
fn a_boundary_along_two_settings_has_a_line_a_value_of_the_second() {
    let folder = TempDir::new().unwrap();
    let more = ["--and", "servers.workers=1..3", "--values", "2", "--out", "two"];
    let found = tip(&folder, &[&["--along", "load.rate=5..60"][..], &more].concat());
    assert_eq!((found.code, &*found.stderr), (Some(0), ""), "{found:?}");
    let boundary = rows(&folder, "two/boundary.jsonl");
    let lows: Vec<_> = boundary.iter().map(|row| row["low"].as_f64().unwrap()).collect();
    assert_eq!(boundary.iter().map(|row| row["and"].as_f64().unwrap()).collect::<Vec<_>>(), [1.0, 3.0]);
    assert!(lows[1] > 2.5 * lows[0], "{lows:?}");
    assert!(found.stdout.contains("servers.workers"), "{found:?}");
}

#[test]
fn recovery_tips_where_a_backlog_is_not_worked_off_before_the_end() {
    let folder = TempDir::new().unwrap();
    // With a queue that takes all, the latency before the fault grows as fast as the one after it.
    let found = tip(&folder, &["--along", "load.rate=5..30", "--recovery", "--set", "servers.queue=64"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.starts_with("TIPS  story (sim): recovery holds with load.rate="), "{found:?}");
    let identity = fs::read_to_string(folder.path().join("runs/story/tip-load-rate/tip.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    assert_eq!((&identity["judged"], &identity["along"]["key"]), (&"recovery".into(), &"load.rate".into()));
}
