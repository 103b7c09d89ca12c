//! The alarms of one run.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kernel::{
    detect::{Alarm, AlarmRule, Call, parse_step, scores},
    measure::{
        FaultSummary,
        text::{
            quantity::moment,
            table::{Align, TextTable},
        },
    },
};
use serde::Serialize;

use super::GRACE_US;
use crate::run::RecordedRun;

/// Arguments of `reports detect`.
#[derive(Debug, Clone, Args)]
pub struct DetectOptions {
    /// A run folder, or a request log of another program.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,

    /// The length of a step, after each of which detectors give a score; the first 30 steps are for learning.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_step)]
    pub step: Duration,

    /// Prints the alarms as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The most steps of a run: eleven days of the shortest that are usual, of a second.
const STEPS_MAX: u128 = 1_000_000;

/// The alarms of all detectors over a run.
#[derive(Debug, Serialize)]
pub(crate) struct RunAlarms {
    #[serde(skip)]
    title: String,
    /// Number of complete steps.
    steps: usize,
    detectors: Vec<DetectorAlarms>,
}

/// The alarms of a detector.
#[derive(Debug, Serialize)]
struct DetectorAlarms {
    detector: String,
    threshold: f64,
    /// The highest score of a step.
    highest: f64,
    alarms: Vec<RunAlarm>,
}

/// An alarm, and the fault that it belongs to.
#[derive(Debug, Serialize)]
struct RunAlarm {
    #[serde(flatten)]
    alarm: Alarm,
    /// The fault that began last before the alarm, and was active until a minute before it; null for a false alarm.
    fault: Option<usize>,
    /// The kind of that fault.
    kind: Option<String>,
    /// The time from the start of the fault to the alarm.
    delay_us: Option<u64>,
}

impl RunAlarm {
    fn new(alarm: Alarm, faults: &[FaultSummary]) -> Self {
        let active = faults.iter().filter(|fault| {
            let end_us = fault.lifted_us.unwrap_or(u64::MAX).saturating_add(GRACE_US);
            (fault.start_us..=end_us).contains(&alarm.start_us)
        });
        let fault = active.max_by_key(|fault| fault.start_us);
        Self {
            fault: fault.map(|fault| fault.index),
            kind: fault.map(|fault| fault.kind.clone()),
            delay_us: fault.map(|fault| alarm.start_us - fault.start_us),
            alarm,
        }
    }
}

impl RunAlarms {
    /// Returns the alarms of all detectors over `run`, with steps of this length.
    ///
    /// # Errors
    /// There are too many steps; the message says what to do.
    pub(crate) fn of_run(run: &RecordedRun, step: Duration) -> Result<Self, String> {
        let summary = run.summary();
        let mut calls = Vec::with_capacity(run.rows.requests.len());
        run.rows.requests.each(|row| calls.push(Call::from(row)));
        calls.sort_by_key(|call| call.end_us);
        // A log may have a single row years after the others.
        let last_us = calls.last().map_or(0, |call| call.end_us).max(summary.end_us);
        let count = u128::from(last_us) / step.as_micros();
        if count > STEPS_MAX {
            return Err(format!("the run has {count} steps, and {STEPS_MAX} are allowed; choose a longer --step"));
        }
        let scores = scores(step, calls, summary.end_us);
        let steps = scores.first().map_or(0, |(_, scores)| scores.len());
        let detectors = scores.into_iter().map(|(name, scores)| {
            let highest = scores.iter().map(|(_, score)| *score).fold(0.0, f64::max);
            let alarms = AlarmRule::new(name.threshold()).alarms(scores).into_iter();
            DetectorAlarms {
                detector: name.to_string(),
                threshold: name.threshold(),
                highest,
                alarms: alarms.map(|alarm| RunAlarm::new(alarm, &summary.faults)).collect(),
            }
        });
        Ok(Self { title: run.title(), steps, detectors: detectors.collect() })
    }

    /// Returns the report for the terminal. It ends with a line break.
    pub(crate) fn text(&self) -> String {
        let mut table = TextTable::new(&[
            ("detector", Align::Left),
            ("highest score", Align::Right),
            ("threshold", Align::Right),
            ("alarm", Align::Right),
            ("until", Align::Right),
            ("fault", Align::Left),
            ("after its start", Align::Right),
        ]);
        for detector in &self.detectors {
            let head =
                [detector.detector.clone(), format!("{:.2}", detector.highest), format!("{:.2}", detector.threshold)];
            if detector.alarms.is_empty() {
                table.row(head.clone().into_iter().chain(["none", "", "", ""].map(str::to_owned)).collect());
            }
            for (index, alarm) in detector.alarms.iter().enumerate() {
                let head = if index == 0 { head.clone() } else { [const { String::new() }; 3] };
                table.row(head.into_iter().chain(alarm.cells()).collect());
            }
        }
        format!("{}: {} steps\n\n{}", self.title, self.steps, table.render())
    }
}

impl RunAlarm {
    fn cells(&self) -> [String; 4] {
        let fault = match (self.fault, &self.kind) {
            (Some(index), Some(kind)) => format!("fault-{index} {kind}"),
            _ => "none: a false alarm".to_owned(),
        };
        [
            moment(self.alarm.start_us),
            self.alarm.end_us.map_or_else(|| "the end".to_owned(), moment),
            fault,
            self.delay_us.map(moment).unwrap_or_default(),
        ]
    }
}
