//! Tests of the model of a machine, on runs whose times follow a known one.

use kernel::{
    coldness::{Coldness, ColdnessRates},
    distribution::Distribution,
    entropy::{Entropy, unit},
    time::Instant,
    variation::Variation,
};

use super::{paths::Path, *};

const RATES: ColdnessRates = ColdnessRates {
    cool_down_us: 6_000.0,
    shape: 1.8,
    usage_factor: 3.0,
    usage_window_us: 30_000.0,
    warm_up_us: 900.0,
    slow_share: 0.3,
    slow_cool_down_us: 150_000.0,
    servers_sleep: true,
};

/// Times of the stages on a warm machine, and what they take longer on a cold one, in microseconds.
const WARM: [f64; STAGES] = [60.0, 90.0, 50.0, 80.0];
const COLDER: [f64; STAGES] = [180.0, 300.0, 15.0, 120.0];

fn instant(micros: f64) -> Instant {
    Instant::from_nanos((micros * 1e3) as u64)
}

/// A request whose stages begin and end at these moments.
fn path(moments: [f64; STAGES + 1]) -> Path {
    let size = "64x64".to_owned();
    Path { size, moments, rest: None, is_disturbed: false, overlaps: false, finds_rest: true, is_late_alone: false }
}

/// A run whose requests arrive at random and take the times of the model, and 10 % more or less.
fn run(load: Load, seed: u64) -> RunPaths {
    varied_run(load, seed, &[])
}

/// The same with times that vary together.
fn varied_run(load: Load, seed: u64, parts: &[VariationPart]) -> RunPaths {
    let mut rng = Entropy::new(seed).stream("run");
    let mut variation = Variation::new(parts, Entropy::new(seed));
    let mut machine = Coldness::new(RATES);
    let mut paths = Vec::new();
    let mut at = 0.0;
    let mut busy_until = 0.0;
    loop {
        at += -(1.0 - unit(&mut rng)).ln() * 1e6 / load.rate as f64;
        // No two requests overlap, so that the times can be drawn one after another.
        at = f64::max(at, busy_until + 1.0).round();
        if at > load.seconds as f64 * 1e6 {
            break;
        }
        machine.end_work(instant(busy_until));
        let mut moments = [at; STAGES + 1];
        for stage in 0..STAGES {
            let begins = moments[stage];
            let mut takes = |stage: usize, coldness: f64| {
                let probability = variation.probability(instant(begins), unit(&mut rng));
                ((WARM[stage] + COLDER[stage] * coldness) * (0.9 + 0.2 * probability)).round()
            };
            let begun = instant(begins);
            let coldness = if stage == TO_SERVER { machine.of_server(begun) } else { machine.at(begun) };
            if stage == LATE {
                machine.begin_work(instant(begins));
            }
            let mut ends = begins + takes(stage, coldness);
            if stage == SERVICE && !load.hold.is_zero() {
                // The machine rests until the timer of the worker expires.
                machine.end_work(instant(ends));
                let expires = begins + load.hold.as_secs_f64() * 1e6;
                let coldness = machine.at(instant(expires));
                machine.begin_work(instant(expires));
                ends = expires + takes(LATE, coldness);
            }
            moments[stage + 1] = ends;
        }
        busy_until = moments[STAGES];
        paths.push(path(moments));
    }
    RunPaths::new(load, paths, 0.0)
}

fn runs() -> MachineRuns {
    let runs = |loads: &[Load]| loads.iter().map(|load| run(*load, load.rate)).collect();
    let fitted = WorkloadRuns { computing: runs(&FITTED), held: runs(&[HELD, Load::new(24, 8).held_for(HELD.hold)]) };
    MachineRuns { fitted, held_out: runs(&HELD_OUT), others: BTreeMap::new() }
}

fn model() -> MachineModel {
    let mut runs = runs();
    assert_eq!(runs.leave_out_overloaded(), []);
    MachineModel::fit(2, &runs).unwrap()
}

#[test]
fn the_model_predicts_rates_that_it_was_not_fitted_to() {
    let model = model();
    let loads = model.predictions.iter().map(|run| (run.hold.as_millis(), run.rate, run.is_fitted));
    let expected =
        [(1, true), (5, true), (20, false), (50, true), (150, false), (300, true), (600, false), (1_000, true)];
    let expected = expected.map(|(rate, is_fitted)| (0, rate, is_fitted));
    assert_eq!(loads.collect::<Vec<_>>(), [&expected[..], &[(4, 24, true), (4, 300, true)]].concat());
    for Prediction { rate, hold, share, .. } in &model.predictions {
        let measured = (0..STAGES).filter(|stage| hold.is_zero() || *stage != SERVICE);
        for share in measured.map(|stage| share[stage]) {
            assert!(share.is_some_and(|share| (0.9..1.1).contains(&share)), "{rate}, {hold:?}: {share:?}");
        }
        assert_eq!(share[SERVICE].is_some(), hold.is_zero());
    }
    assert!(model.fit.unexplained[TO_SERVER] < 0.1, "{:?}", model.fit);
    let medians = [&model.timer, &model.messages[0].to_server, &model.messages[0].to_client];
    let medians = medians.map(|times| [times.median_at(0.0), times.median_at(1.0)]);
    for (stage, [warm, cold]) in [LATE, TO_SERVER, TO_CLIENT].into_iter().zip(medians) {
        let [true_warm, true_cold] = [WARM[stage], WARM[stage] + COLDER[stage]];
        assert!((warm / true_warm - 1.0).abs() < 0.1 && (cold / true_cold - 1.0).abs() < 0.1, "{stage}: {warm} {cold}");
    }
}

/// In a build without optimization, or on a slow machine, every request waits for others.
#[test]
fn a_rate_that_the_machine_does_not_keep_up_with_is_not_fitted() {
    let mut runs = runs();
    for run in runs.fitted.computing.iter_mut().filter(|run| run.load.rate >= 300) {
        let alone = if run.load.rate == 300 { REQUESTS_MIN - 1 } else { 0 };
        run.paths.iter_mut().skip(alone).for_each(|path| path.is_disturbed = true);
    }
    let overloaded = [(300, REQUESTS_MIN - 1), (1_000, 0)].map(|(rate, requests)| OverloadedRate { rate, requests });
    assert_eq!(runs.leave_out_overloaded(), overloaded);
    assert_eq!(runs.leave_out_overloaded(), [], "they are no longer among those that are fitted");
    let model = MachineModel::fit(2, &runs).unwrap();
    let table: toml::Table = model.to_toml().parse().unwrap();
    assert_eq!(table["machine"]["fitted_rates"].to_string(), "[1, 5, 50]");
    assert!(!table["machine"].as_table().unwrap().contains_key("pauses"));
    let line = model.table().lines().find(|line| line.contains(" 1000 ")).unwrap().to_owned();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["1000", "0", "s", "0", "predicted", "timer", "late", "by", "n/a", "n/a"]
    );
    // What was fitted is that of the other rates.
    let computing = |prediction: &&Prediction| prediction.is_fitted && prediction.hold.is_zero();
    for Prediction { rate, share, .. } in model.predictions.iter().filter(computing) {
        assert!(share.iter().flatten().all(|share| (0.9..1.1).contains(share)), "{rate}: {share:?}");
    }
}

/// What times have in common that begin at one moment, 10 ms apart and 0.2 s apart.
fn in_common(parts: &[VariationPart]) -> [f64; 3] {
    [0.0, 1e4, 2e5].map(|lag| parts.iter().map(|part| part.correlation(lag)).sum())
}

/// What the model has for runs with these parts: two of each load, four times as long as those of a calibration, as a part that changes within a second has
/// few values in a run. Of as many requests in eight runs of the usual length, a tenth of the variance is missed.
fn found_in_common(parts: &[VariationPart]) -> [f64; 3] {
    let longer = FITTED.map(|load| Load { seconds: 4 * load.seconds, ..load });
    let runs = std::iter::repeat_n(longer, 2).flatten().enumerate();
    let computing = runs.map(|(seed, load)| varied_run(load, seed as u64, parts)).collect();
    let fitted = WorkloadRuns { computing, held: Vec::new() };
    in_common(&MachineModel::fit(2, &MachineRuns { fitted, ..MachineRuns::default() }).unwrap().variation)
}

#[test]
fn what_times_of_one_moment_have_in_common_is_found() {
    let none = found_in_common(&[]);
    assert!(none.iter().all(|common| *common < 0.05), "{none:?}");
    let parts = [VariationPart { share: 0.3, time_us: 2e3 }, VariationPart { share: 0.3, time_us: 1e6 }];
    let found = found_in_common(&parts);
    let off = found.iter().zip(in_common(&parts)).map(|(found, expected)| (found - expected).abs());
    assert!(off.clone().all(|off| off < 0.1), "{found:?}");
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
    run.paths.iter().enumerate().filter(|(_, path)| !path.counts()).map(|(id, _)| id).collect()
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
    let run = RunPaths::from_records(&records(requests), Load::new(1_000, 2), 0.0);
    assert_eq!(run.pauses, [3_000.0]);
    assert_eq!(left_out(&run), [100, 101, 102, 103]);
    // The machine works for 330 µs for each of 396 requests, and without a break from the first that waits to the last.
    assert_eq!(run.working(RATES).us, 396.0 * 330.0 + 3_330.0);
    let pauses = Pauses::find([&run].into_iter(), RATES).unwrap();
    assert!((pauses.per_second / (1e6 / run.working(RATES).us) - 1.0).abs() < 1e-9, "{pauses:?}");
}

#[test]
fn a_timer_that_is_late_alone_is_no_pause_of_a_machine_that_works() {
    let requests = (0..400_u64).map(|id| {
        let intended = 100_000 + id * 20_000;
        // One timer is late by 2 ms, and one answer.
        let late = if id == 100 { 2_000 } else { 0 };
        let back = if id == 200 { 2_000 } else { 0 };
        let end = intended + 250 + late;
        [intended, intended + 50 + late, end, end + 80 + back]
    });
    let run = RunPaths::from_records(&records(requests), Load::new(50, 8), 0.0);
    assert_eq!((run.pauses.as_slice(), left_out(&run)), (&[2_000.0][..], vec![100, 200]));
    let late: Vec<_> = run.timers(RATES).map(|(_, micros)| micros).filter(|micros| *micros > 50.0).collect();
    assert_eq!((late, run.timers(RATES).count()), (vec![2_050.0], 399));
}

#[test]
fn the_time_of_work_counts_by_the_coldness_with_which_it_begins() {
    let moments = |at: f64| std::array::from_fn(|stage| at + 100.0 * stage as f64);
    let run = RunPaths::new(Load::new(1, 10), vec![path(moments(0.0)), path(moments(5e6))], 0.0);
    let working = run.working(RATES);
    // Both begin after a long sleep.
    assert!((working.us - 800.0).abs() < 1e-9 && (working.cold_us - 800.0).abs() < 1.0, "{working:?}");
    let busy = RunPaths::new(Load::new(1_000, 1), vec![path(moments(0.0)), path(moments(410.0))], 0.0);
    assert!(busy.working(RATES).cold_us < 750.0, "{:?}", busy.working(RATES));
}

/// A run of ten requests, 2 ms of work in all, with this many pauses.
fn paused(times: usize, length: f64) -> RunPaths {
    let at = |number: usize, stage: usize| number as f64 * 1e4 + stage as f64 * 50.0;
    let paths = (0..10).map(|number| path(std::array::from_fn(|stage| at(number, stage))));
    let mut run = RunPaths::new(Load::new(300, 1), paths.collect(), 0.0);
    run.pauses = vec![length; times];
    run
}

#[test]
fn pauses_are_those_of_the_runs_between_the_calmest_and_the_noisiest() {
    let runs = [paused(9, 9_000.0), paused(1, 700.0), paused(0, 0.0), paused(2, 900.0)];
    let Pauses { per_second, per_second_cold, lengths } = Pauses::find(runs.iter(), RATES).unwrap();
    assert_eq!([per_second, per_second_cold], [3.0 / 4e-3; 2]);
    assert_eq!((lengths[0].1, lengths.last().unwrap().1), (700.0, 900.0));
    assert!(Pauses::find([&paused(0, 0.0)].into_iter(), RATES).is_none());
    assert!(Pauses::find([].into_iter(), RATES).is_none());
}

#[test]
fn requests_that_overlap_are_left_out() {
    let request = |intended: u64, took: u64| [intended, intended + 50, intended + took - 80, intended + took];
    // The second one is over before the third one begins, and the first one is not.
    let three = [(100_000, 500), (100_100, 300), (100_450, 300)];
    let alone = [(101_000, 300), (101_300, 300), (102_000, 300)];
    let requests = three.into_iter().chain(alone).map(|(intended, took)| request(intended, took));
    let run = RunPaths::from_records(&records(requests), Load::new(1_000, 1), 0.0);
    assert_eq!((run.pauses.len(), left_out(&run)), (0, vec![0, 1, 2]));
}

#[test]
fn the_machine_rests_while_a_worker_is_held() {
    // Each worker has its request 70 µs after it was intended, computes for 100 µs, and is held for 10 ms, and 20 µs more.
    let request = |intended: u64| {
        let end = intended + 70 + 10_020;
        [intended, intended + 50, end, end + 80]
    };
    let mut records = records([100_000, 104_000, 110_100, 130_000].map(request));
    records.events.iter_mut().for_each(|event| event.duration_us = Some(10_020));
    let load = Load::new(100, 1).held_for(Duration::from_millis(10));
    let mut run = RunPaths::from_records(&records, load, 0.0);
    run.rest(&BTreeMap::from([("64x64".to_owned(), 100.0)]));
    // The second one is sent while the worker of the first is held, and the third one when that is answered.
    assert_eq!(left_out(&run), [0, 2]);
    let coldness = run.coldness(RATES);
    let rested = |micros: f64| {
        let mut machine = Coldness::new(RATES);
        machine.begin_work(instant(0.0));
        machine.end_work(instant(170.0));
        machine.at(instant(170.0 + micros))
    };
    let begun = Coldness::new(RATES).at(instant(0.0));
    assert_eq!(begun, coldness[0][LATE]);
    assert!((coldness[1][LATE] - rested(3_830.0)).abs() < 0.01, "{} {}", coldness[1][LATE], rested(3_830.0));
    // The way back begins 20 µs after the machine has begun to work again.
    let woken = rested(9_900.0) * (-20.0 / RATES.warm_up_us).exp();
    assert!((coldness[3][TO_CLIENT] - woken).abs() < 0.05, "{} {woken}", coldness[3][TO_CLIENT]);
    assert_eq!(run.measured_stages().collect::<Vec<_>>(), [LATE, TO_SERVER, TO_CLIENT]);

    run.rest(&BTreeMap::new());
    assert_eq!(run.counted().count(), 0, "nothing says how long they compute");
}

#[test]
fn what_follows_a_call_is_the_processor_time_that_no_stage_has() {
    // Ten calls more take 10 ms more, and each of them is under way for 500 µs from its sending on.
    let run_at = |rate: u64, calls: u64, processor_us: f64| {
        let requests = (0..calls).map(|id| {
            let intended = 100_000 + id * 1_000;
            [intended, intended + 50, intended + 470, intended + 550]
        });
        RunPaths::from_records(&records(requests), Load::new(rate, 1), processor_us)
    };
    let runs = [run_at(10, 10, 50_000.0), run_at(20, 20, 60_000.0)];
    assert_eq!(follow_up(runs.iter()), Some(1_000.0 - 500.0 - THREAD_SWITCH_US));
    assert_eq!(follow_up(runs[..1].iter()), None);
    // The time of requests that overlap is not their processor time.
    let mut overlapping = runs.clone();
    overlapping[1].paths.iter_mut().for_each(|path| path.overlaps = true);
    assert_eq!(follow_up(overlapping.iter()), None);
    assert!(runs[0].has_only("64x64") && !runs[0].has_only("16x16"));
}

/// A run in which pairs of computations, 6 ms alone, begin at once and slow each other by a half. Every third one is alone.
fn pairs(service_us: u64) -> RunPaths {
    let slow = service_us * 3 / 2;
    let pair = |at: u64| [(at, slow), (at + 10, slow), (at + 40_000, service_us)];
    let requests = (1..100).flat_map(|number| pair(number * 100_000));
    let mut records =
        records(requests.clone().map(|(at, service)| [at, at + 50, at + 150 + service, at + 250 + service]));
    for (event, (_, service)) in records.events.iter_mut().zip(requests) {
        event.duration_us = Some(service);
    }
    RunPaths::from_records(&records, Load::new(30, 10), 0.0)
}

#[test]
fn computations_that_run_at_the_same_time_say_how_much_they_slow_each_other() {
    let contention =
        |run: &RunPaths, around_us| contention::contention(2, std::slice::from_ref(run), "64x64", around_us);
    let long = pairs(6_000);
    assert_eq!(long.counted().count(), 99);
    assert!((contention(&long, 0.0) - 0.5).abs() < 0.01, "{}", contention(&long, 0.0));
    // What surrounds a call takes its time of both processors, where both compute: 30 times 2 ms in a second, of 2 s.
    let less = contention(&long, 2_000.0);
    assert!((less - (1.5 * (2.0 - 0.06) / 2.0 - 1.0)).abs() < 0.01, "{less}");
    assert_eq!(contention(&pairs(300), 0.0), 0.0, "too short to say so");
    let few = RunPaths::new(long.load, long.paths[..3 * 9].to_vec(), 0.0);
    assert_eq!(contention(&few, 0.0), 0.0, "too few");
}

#[test]
fn a_long_computation_is_no_pause_of_the_machine() {
    assert!(pairs(6_000).pauses.is_empty());
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
