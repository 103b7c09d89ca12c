//! Sample searches for tests.

use super::{Boundary, Criterion, Point, SettingRange, StoppingRule, TestOutcome, ThresholdIdentity, ThresholdRecord};
use crate::{experiment::sweep::Origin, run_folder::CalibrationInfo};

/// Returns the record of a search along the load, for one and two workers if the second setting is given.
pub(super) fn record(and: Option<&str>) -> ThresholdRecord {
    let others = if and.is_some() { vec![Some(1.0), Some(2.0)] } else { vec![None] };
    ThresholdRecord {
        identity: identity(and.map(|and| and.parse().unwrap())),
        scenario: "name = \"short\"\n".to_owned(),
        points: others.iter().flat_map(|and| points(*and)).collect(),
        boundaries: others.iter().map(|and| boundary(*and)).collect(),
    }
}

fn identity(and: Option<SettingRange>) -> ThresholdIdentity {
    ThresholdIdentity {
        world: "sim".to_owned(),
        version: "1".to_owned(),
        scenario: "short".to_owned(),
        criterion: Criterion::Recovery,
        along: "load.rate=10..30".parse().unwrap(),
        and,
        samples: 6,
        confidence: 0.95,
        rule: StoppingRule { lead: 5, runs_max: 5 },
        from_seed: 0,
        calibration: CalibrationInfo { name: "default".to_owned(), sha256: String::new() },
        origin: Origin {
            scenario: "my stories/short.toml".to_owned(),
            overrides: vec!["load.arrivals=poisson".to_owned()],
            calibration: Some("here.toml".to_owned()),
        },
    }
}

fn points(and: Option<f64>) -> [Point; 4] {
    [(10.0, 5), (12.0, 4), (13.0, 0), (30.0, 0)].map(|(along, passes)| Point {
        along,
        and,
        settings: vec![format!("load.rate={along}")],
        runs: 5,
        passes,
        outcome: if passes > 2 { TestOutcome::Holds } else { TestOutcome::Fails },
        decided: passes == 0 || passes == 5,
        seed: 3,
        stopped: None,
    })
}

fn boundary(and: Option<f64>) -> Boundary {
    Boundary { and, low: Some(12.0), high: Some(13.0), outcome: TestOutcome::Holds }
}
