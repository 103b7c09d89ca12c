//! The dashboard in the repository is that of the list of metrics, and the alert rules are those of a scenario.

use std::{env, fs, path::Path};

use kernel::{export::dashboard, json::pretty, scenario::Scenario, slo::prometheus::rules_file};

/// Checks that a file in `real/deploy` has this text, or writes it if `GENERATE` is set.
fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/deploy").join(file);
    if env::var_os("GENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} is old: GENERATE=1 cargo test -p kernel --test it dashboard", path.display());
}

#[test]
fn the_dashboard_is_that_of_the_metrics() {
    check("grafana/rehearsal.json", &pretty(&dashboard::dashboard()));
}

#[test]
fn the_alert_rules_are_those_of_the_scenario() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/alerts.toml");
    let scenario = Scenario::load(&file, &[]).unwrap();
    let head = "# The objectives of scenarios/alerts.toml, as `real alert-rules scenarios/alerts.toml` prints them.\n";
    check("alerts.yml", &format!("{head}{}", rules_file(&scenario.slos)));
}
