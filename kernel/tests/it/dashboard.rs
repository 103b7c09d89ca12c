//! The dashboard in the repository is that of the list of metrics.

use std::{env, fs, path::Path};

use kernel::{export::dashboard, json::pretty};

#[test]
fn the_dashboard_is_that_of_the_metrics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/deploy/grafana/rehearsal.json");
    let text = pretty(&dashboard::dashboard());
    if env::var_os("GENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} is old: GENERATE=1 cargo test -p kernel --test it dashboard", path.display());
}
