//! Tests of the model of a machine, on runs whose times follow a known one.

use kernel::{
    coldness::{Coldness, ColdnessRates},
    distribution::Distribution,
    entropy::{Entropy, unit},
    time::Instant,
};

use super::{paths::Path, *};

const RATES: ColdnessRates = ColdnessRates {
    cool_down_us: 6_000.0,
    shape: 1.8,
    usage_factor: 3.0,
    usage_window_us: 30_000.0,
    warm_up_us: 900.0,
};

/// Times of the stages on a warm machine, and what they take longer on a cold one, in microseconds.
const WARM: [f64; STAGES] = [60.0, 90.0, 50.0, 80.0];
const COLDER: [f64; STAGES] = [180.0, 300.0, 15.0, 120.0];

fn instant(micros: f64) -> Instant {
    Instant::from_nanos((micros * 1e3) as u64)
}

/// A run whose requests arrive at random and take the times of the model, and 10 % more or less.
fn run(rate: u64, seconds: u64, seed: u64) -> RunPaths {
    let mut rng = Entropy::new(seed).stream("run");
    let mut machine = Coldness::new(RATES);
    let mut paths = Vec::new();
    let mut at = 0.0;
    let mut busy_until = 0.0;
    loop {
        at += -(1.0 - unit(&mut rng)).ln() * 1e6 / rate as f64;
        // No two requests overlap, so that the times can be drawn one after another.
        at = f64::max(at, busy_until + 1.0).round();
        if at > seconds as f64 * 1e6 {
            break;
        }
        machine.end_work(instant(busy_until));
        let at_rest = machine.at(instant(at));
        machine.begin_work(instant(at));
        let mut moments = [at; STAGES + 1];
        for stage in 0..STAGES {
            let coldness = if stage == 0 { at_rest } else { machine.at(instant(moments[stage])) };
            let spread = 0.9 + 0.2 * unit(&mut rng);
            moments[stage + 1] = moments[stage] + ((WARM[stage] + COLDER[stage] * coldness) * spread).round();
        }
        busy_until = moments[STAGES];
        paths.push(Path { size: "64x64".to_owned(), moments, counts: true });
    }
    RunPaths { rate, paths, pauses: Vec::new(), seconds: seconds as f64, processor_us: 0.0 }
}

fn runs() -> MachineRuns {
    let runs = |rates: &[(u64, u64)]| rates.iter().map(|(rate, seconds)| run(*rate, *seconds, *rate)).collect();
    MachineRuns { fitted: runs(&FITTED), held_out: runs(&HELD_OUT), others: BTreeMap::new() }
}

fn model() -> MachineModel {
    let mut runs = runs();
    assert_eq!(runs.leave_out_overloaded(), []);
    MachineModel::fit(2, &runs).unwrap()
}

#[test]
fn the_model_predicts_rates_that_it_was_not_fitted_to() {
    let model = model();
    let rates = model.predictions.iter().map(|run| (run.rate, run.is_fitted));
    let expected = [(5, true), (20, false), (50, true), (150, false), (300, true), (600, false), (1_000, true)];
    assert_eq!(rates.collect::<Vec<_>>(), expected);
    for Prediction { rate, share, .. } in &model.predictions {
        assert!(share.iter().all(|share| share.is_some_and(|share| (0.9..1.1).contains(&share))), "{rate}: {share:?}");
    }
    assert!(model.fit.unexplained[TO_SERVER] < 0.1, "{:?}", model.fit);
    let medians =
        [&model.timer, &model.messages[0].to_server].map(|times| [times.median_at(0.0), times.median_at(1.0)]);
    for (stage, [warm, cold]) in [LATE, TO_SERVER].into_iter().zip(medians) {
        let [true_warm, true_cold] = [WARM[stage], WARM[stage] + COLDER[stage]];
        assert!((warm / true_warm - 1.0).abs() < 0.1 && (cold / true_cold - 1.0).abs() < 0.1, "{stage}: {warm} {cold}");
    }
}

/// In a build without optimization, or on a slow machine, every request waits for others.
#[test]
fn a_rate_that_the_machine_does_not_keep_up_with_is_not_fitted() {
    let mut runs = runs();
    for run in runs.fitted.iter_mut().filter(|run| run.rate >= 300) {
        let alone = if run.rate == 300 { REQUESTS_MIN - 1 } else { 0 };
        run.paths.iter_mut().skip(alone).for_each(|path| path.counts = false);
    }
    let overloaded = [(300, REQUESTS_MIN - 1), (1_000, 0)].map(|(rate, requests)| OverloadedRate { rate, requests });
    assert_eq!(runs.leave_out_overloaded(), overloaded);
    assert_eq!(runs.leave_out_overloaded(), [], "they are no longer among those that are fitted");
    let model = MachineModel::fit(2, &runs).unwrap();
    let table: toml::Table = model.to_toml().parse().unwrap();
    assert_eq!(table["machine"]["fitted_rates"].to_string(), "[5, 50]");
    assert!(!table["machine"].as_table().unwrap().contains_key("pauses"));
    let line = model.table().lines().find(|line| line.contains(" 1000 ")).unwrap().to_owned();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["1000", "0", "predicted", "timer", "late", "by", "n/a", "n/a"]
    );
    // What was fitted is that of the other rates.
    for Prediction { rate, share, .. } in model.predictions.iter().filter(|prediction| prediction.is_fitted) {
        assert!(share.iter().flatten().all(|share| (0.9..1.1).contains(share)), "{rate}: {share:?}");
    }
}

#[test]
fn the_table_of_the_model_is_one_of_a_calibration() {
    let text = model().to_toml();
    let table: toml::Table = text.parse().unwrap();
    let machine = &table["machine"];
    assert_eq!(machine["cores"].as_integer(), Some(2));
    let warm = machine["message"][0]["to_server"]["warm_us"].clone();
    assert!(warm.try_into::<Distribution>().is_ok());
}

/// The rows of requests that are intended, sent, worked on until, and answered at these microseconds.
fn records(requests: impl IntoIterator<Item = [u64; 4]>) -> Records {
    let mut records = Records::default();
    for (id, [intended, sent, end, done]) in requests.into_iter().enumerate() {
        let row = serde_json::json!({
            "id": id, "intended_us": intended, "sent_us": sent, "done_us": done, "latency_us": done - intended,
            "status": "OK", "server": "server-0", "attempts": 1, "failovers": 0, "size": "64x64",
        });
        records.requests.push(serde_json::from_value(row).unwrap());
        let event = serde_json::json!({
            "at_us": end, "source": "server-0", "event": "finished", "target": null, "cause": null, "request": id, "attempt": 1,
            "duration_us": 100,
        });
        records.events.push(serde_json::from_value(event).unwrap());
    }
    records
}

fn left_out(run: &RunPaths) -> Vec<usize> {
    run.paths.iter().enumerate().filter(|(_, path)| !path.counts).map(|(id, _)| id).collect()
}

#[test]
fn a_pause_is_found_and_what_overlaps_it_is_left_out() {
    let requests = (0..400_u64).map(|id| {
        let intended = 100_000 + id * 1_000;
        // The machine stands still for 3 ms.
        let late = if (100..103).contains(&id) { (103 - id) * 1_000 } else { 0 };
        let end = intended + 250 + late;
        [intended, intended + 50 + late, end, end + 80]
    });
    let run = RunPaths::from_records(&records(requests), 1_000, 0.5, 0.0);
    assert_eq!(run.pauses, [3_000.0]);
    assert_eq!(left_out(&run), [100, 101, 102, 103]);
    assert_eq!(pauses(&[run]).unwrap().0, 2.0);
}

#[test]
fn requests_that_overlap_are_left_out() {
    let request = |intended: u64, took: u64| [intended, intended + 50, intended + took - 80, intended + took];
    // The second one is over before the third one begins, and the first one is not.
    let three = [(100_000, 500), (100_100, 300), (100_450, 300)];
    let alone = [(101_000, 300), (101_300, 300), (102_000, 300)];
    let requests = three.into_iter().chain(alone).map(|(intended, took)| request(intended, took));
    let run = RunPaths::from_records(&records(requests), 1_000, 0.1, 0.0);
    assert_eq!((run.pauses.len(), left_out(&run)), (0, vec![0, 1, 2]));
}

#[test]
fn what_follows_a_call_is_the_processor_time_that_no_stage_has() {
    // Ten calls more take 10 ms more, and each of them is under way for 500 µs from its sending on.
    let run_at = |rate: u64, calls: u64, processor_us: f64| {
        let requests = (0..calls).map(|id| {
            let intended = 100_000 + id * 1_000;
            [intended, intended + 50, intended + 470, intended + 550]
        });
        RunPaths::from_records(&records(requests), rate, 1.0, processor_us)
    };
    let runs = [run_at(10, 10, 50_000.0), run_at(20, 20, 60_000.0)];
    assert_eq!(follow_up(runs.iter()), Some(1_000.0 - 500.0 - THREAD_SWITCH_US));
    assert_eq!(follow_up(runs[..1].iter()), None);
    // The time of requests that overlap is not their processor time.
    let mut overlapping = runs.clone();
    overlapping[1].paths.iter_mut().for_each(|path| path.counts = false);
    assert_eq!(follow_up(overlapping.iter()), None);
    assert!(runs[0].has_only("64x64") && !runs[0].has_only("16x16"));
}

#[test]
fn a_machine_whose_coldness_never_changes_has_one_distribution() {
    let same = WarmAndCold::fit((0..500).map(|number| (1.0, f64::from(number))).collect()).unwrap();
    assert_eq!(same.warm, same.cold);
    assert_eq!(WarmAndCold::fit(Vec::new()), None);
}

#[test]
fn the_bytes_of_a_reply_are_those_of_its_numbers() {
    assert_eq!(["64x64", "100+200", "200+400", "20000+60000", "data"].map(reply_bytes), [4_096, 100, 272, 43_488, 1]);
}

#[test]
fn processor_time_grows() {
    let before = processor_us();
    // The system counts in hundredths of a second.
    let grew = (0..1_000_000_u64).any(|round| {
        std::hint::black_box((0..10_000).fold(round, |sum: u64, value| sum.wrapping_mul(31) ^ value));
        round % 100 == 0 && processor_us() > before
    });
    assert!(grew);
}
