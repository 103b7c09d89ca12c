//! The plots of one run.

use super::{Axis, Band, Bar, Colour, Dash, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks, steps};
use crate::{
    analyse::{Lane, Lanes, RequestClass, RunAnalysis, Stretch, points::Cloud},
    fold::Windows,
};

/// Returns the plots of a run, the most important first.
pub fn figures(analysis: &RunAnalysis) -> Vec<Figure> {
    let plots = [timeseries, latency_raw, latency_uncorrected, attempts, decisions];
    plots.iter().map(|plot| plot(analysis)).collect()
}

/// Returns the end of the run, in seconds.
fn end_s(analysis: &RunAnalysis) -> f64 {
    analysis.summary.end_us as f64 / 1e6
}

fn figure(analysis: &RunAnalysis, name: &str, what: &str, caption: &str, panels: Vec<Panel>) -> Figure {
    Figure {
        name: name.into(),
        title: what.into(),
        subject: analysis.title.clone(),
        caption: caption.into(),
        x: Axis::time(end_s(analysis)),
        panels,
        bands: Band::of_run(&analysis.summary, end_s(analysis)),
    }
}

fn per_second(windows: &Windows, counts: &[u64]) -> Vec<(f64, f64)> {
    steps(windows.length_s, windows.rates(counts).into_iter())
}

fn line(windows: &Windows, name: &str, colour: Colour, values: &[Option<f64>]) -> Layer {
    patterned(windows, name, colour, Dash::Solid, values)
}

fn patterned(windows: &Windows, name: &str, colour: Colour, dash: Dash, values: &[Option<f64>]) -> Layer {
    Layer::patterned(name, colour, dash, steps(windows.length_s, values.iter().copied()))
}

fn rate_panel(windows: &Windows, weight: f64) -> Panel {
    let layers = vec![
        Layer::line("offered", Colour::Grey, per_second(windows, &windows.offered)),
        Layer::line("ended", Colour::Orange, per_second(windows, &windows.completed)),
        Layer::dashed("ended OK (goodput)", Colour::Blue, per_second(windows, &windows.completed_ok)),
    ];
    let highest = windows.offered.iter().chain(&windows.completed).map(|count| *count as f64 / windows.length_s);
    Panel {
        title: "Requests per second".into(),
        y: Axis::from_zero("requests / s", Ticks::Number, highest),
        weight,
        layers,
    }
}

fn latency_axis<'a>(series: impl IntoIterator<Item = &'a Vec<Option<f64>>>) -> Axis {
    Axis::latency("latency", series.into_iter().flatten().flatten().copied())
}

/// The least length of the axis of the success rate. A shorter one would make a single lost request look like an outage.
const SUCCESS_AXIS_MIN: f64 = 0.02;

fn success_panel(windows: &Windows, weight: f64) -> Panel {
    let rates = windows.ended_success_rate();
    Panel {
        title: "Success rate".into(),
        y: Axis::shares("succeeded", SUCCESS_AXIS_MIN, rates.iter().flatten().copied()),
        weight,
        layers: vec![line(windows, "of the requests that ended in the window", Colour::Green, &rates)],
    }
}

fn latency_panel(windows: &Windows, weight: f64) -> Panel {
    let ended = &windows.ended;
    Panel {
        title: "Latency".into(),
        y: latency_axis([&ended.p50, &ended.p95, &ended.p99, &ended.max]),
        weight,
        layers: vec![
            line(windows, "max", Colour::Ink, &ended.max),
            patterned(windows, "p99", Colour::Vermillion, Dash::Dashed, &ended.p99),
            patterned(windows, "p95", Colour::Orange, Dash::Dotted, &ended.p95),
            line(windows, "p50", Colour::Blue, &ended.p50),
        ],
    }
}

/// Returns the plot of throughput, latency and success.
fn timeseries(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    figure(
        analysis,
        "timeseries",
        "Throughput and latency",
        "Each step is a window. Latency, from the intended start, and success are those of the requests that ended in the window, so \
         that no line moves before its cause; a gap is where none ended. A dropped request counts as failed when it was offered.",
        vec![rate_panel(windows, 1.0), latency_panel(windows, 1.1), success_panel(windows, 0.55)],
    )
}

fn latency_raw(analysis: &RunAnalysis) -> Figure {
    let points = &analysis.points;
    let y = Axis::latency("latency", points.range_s.into_iter().flat_map(|(low, high)| [low, high]));
    // A little above the edge, so that half of a mark is not cut off.
    let floor = y.range.0 * 1.01;
    let layers = points.classes.iter().map(|(class, cloud)| class_layer(*class, cloud, floor));
    let dense = points.classes.iter().any(|(_, cloud)| matches!(cloud, Cloud::Many { .. }));
    let caption = if dense {
        "All requests at their intended start. Darker cells contain more requests."
    } else {
        "Each request at its intended start."
    };
    let panel = Panel { title: String::new(), y, weight: 1.8, layers: layers.collect() };
    figure(analysis, "latency_raw", "Latency of every request", caption, vec![panel])
}

/// Returns the layer of the requests of a class. Those below `floor`, such as dropped ones, are drawn there.
fn class_layer(class: RequestClass, cloud: &Cloud, floor: f64) -> Layer {
    let (name, colour, mark) = match class {
        RequestClass::Ok => ("OK", Colour::Blue, Mark::Dot),
        RequestClass::OkAfterRetry => ("OK after retries", Colour::Orange, Mark::Dot),
        RequestClass::Degraded => ("degraded", Colour::Sky, Mark::Dot),
        RequestClass::DeadlineExceeded => ("DEADLINE_EXCEEDED", Colour::Vermillion, Mark::Cross),
        RequestClass::Unavailable => ("UNAVAILABLE", Colour::Purple, Mark::Cross),
        RequestClass::OtherError => ("other errors", Colour::Ink, Mark::Cross),
        RequestClass::Dropped => ("dropped (at the bottom)", Colour::Grey, Mark::Triangle),
    };
    let name = format!("{name}: {}", cloud.count());
    match cloud {
        Cloud::Few(points) => {
            // The comparison is false for the NaN of dropped requests, so they are drawn at the floor, too.
            let visible = points.iter().map(|(at, latency)| (*at, if *latency > floor { *latency } else { floor }));
            Layer::points(&name, colour, mark, visible.collect())
        }
        Cloud::Many { grid, .. } => Layer { name, colour, shape: LayerShape::Cells(grid.cells()) },
    }
}

fn latency_uncorrected(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    let ended = &windows.ended;
    let beside = Panel {
        title: "From the intended and from the actual start".into(),
        y: latency_axis([&ended.p99, &ended.p50, &ended.uncorrected_p50, &ended.uncorrected_p99]),
        weight: 0.9,
        layers: vec![
            line(windows, "p99", Colour::Vermillion, &ended.p99),
            patterned(windows, "p99 uncorrected", Colour::Purple, Dash::Dashed, &ended.uncorrected_p99),
            line(windows, "p50", Colour::Blue, &ended.p50),
            patterned(windows, "p50 uncorrected", Colour::Sky, Dash::Dotted, &ended.uncorrected_p50),
        ],
    };
    figure(
        analysis,
        "latency_uncorrected",
        "Latency that a closed loop hides",
        "Requests by the window in which they ended. The gap is waiting time that a closed-loop load generator does not measure.",
        vec![beside, gap_panel(windows)],
    )
}

/// Returns the panel of the difference between latencies from the intended and from the actual start.
fn gap_panel(windows: &Windows) -> Panel {
    let ended = &windows.ended;
    let p50 = gaps(&ended.p50, &ended.uncorrected_p50);
    let p99 = gaps(&ended.p99, &ended.uncorrected_p99);
    let highest = p50.iter().chain(&p99).flatten().copied().fold(0.001, f64::max);
    Panel {
        title: "Latency that the uncorrected figures hide".into(),
        y: Axis { label: "gap".into(), scale: Scale::Linear, range: (0.0, highest * 1.08), ticks: Ticks::Duration },
        weight: 0.55,
        layers: vec![
            line(windows, "gap at p99", Colour::Vermillion, &p99),
            patterned(windows, "gap at p50", Colour::Blue, Dash::Dashed, &p50),
        ],
    }
}

/// Returns the differences of two series, at least 0.
fn gaps(corrected: &[Option<f64>], uncorrected: &[Option<f64>]) -> Vec<Option<f64>> {
    let pairs = corrected.iter().zip(uncorrected);
    pairs.map(|(corrected, uncorrected)| Some((corrected.as_ref()? - uncorrected.as_ref()?).max(0.0))).collect()
}

fn attempts(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    let per_call = windows.attempts_per_call();
    let highest = per_call.iter().flatten().copied().fold(1.0, f64::max);
    let amplification = Panel {
        title: "Amplification".into(),
        y: Axis {
            label: "attempts / call".into(),
            scale: Scale::Linear,
            range: (0.0, highest * 1.15),
            ticks: Ticks::Number,
        },
        weight: 0.8,
        layers: vec![line(windows, "attempts per call that ended in the window", Colour::Purple, &per_call)],
    };
    let begun = windows.offered.iter().chain(&windows.attempts_begun).map(|count| *count as f64 / windows.length_s);
    let mut layers = vec![Layer::line("requests offered", Colour::Grey, per_second(windows, &windows.offered))];
    // Without rows of attempts their number is not known, and a line at 0 would be wrong.
    if !windows.attempts_begun.is_empty() {
        layers.push(Layer::line("attempts begun", Colour::Blue, per_second(windows, &windows.attempts_begun)));
        layers.push(Layer::dashed(
            "attempts failed",
            Colour::Vermillion,
            per_second(windows, &windows.attempts_failed),
        ));
    }
    let load = Panel {
        title: "Load on the servers".into(),
        y: Axis::from_zero("1 / s", Ticks::Number, begun),
        weight: 1.0,
        layers,
    };
    figure(
        analysis,
        "attempts",
        "Attempts",
        "Retries multiply the load on the servers when they are least able to serve it. Attempts are counted when they begin and when \
         they fail, calls when they end.",
        vec![amplification, load],
    )
}

/// The middle of the bar of a server's state, in lanes from the middle of its lane.
const STATE_ROW: f64 = -0.22;

/// The height of the bar of a server's state, in lanes.
const STATE_HEIGHT: f64 = 0.26;

/// The middle of the bar of the client's view, in lanes from the middle of the lane.
const VIEW_ROW: f64 = 0.08;

/// The height of the bar of the client's view, in lanes.
const VIEW_HEIGHT: f64 = 0.16;

/// The place of the marks of attempts, in lanes from the middle of the lane.
const MARK_ROW: f64 = 0.3;

/// Returns the plot of each server's state, the client's view of it, and the client's decisions.
fn decisions(analysis: &RunAnalysis) -> Figure {
    let lanes = &analysis.lanes;
    let mut names: Vec<String> = lanes.servers.iter().map(|lane| lane.server.clone()).collect();
    if !lanes.given_up.is_empty() {
        names.push("client".into());
    }
    let y = Axis {
        label: String::new(),
        scale: Scale::Linear,
        range: (-0.6, names.len() as f64 - 0.4),
        ticks: Ticks::Names(names.clone()),
    };
    let given_up = lanes.given_up.iter().map(|at| (*at, lanes.servers.len() as f64)).collect();
    // Later layers cover earlier ones, so the worst state comes last.
    let mut layers = vec![
        Layer::bars("up", Colour::Pale, state_bars(lanes, whole_run)),
        Layer::bars("link impaired", Colour::Purple, state_bars(lanes, |lane, _| lane.link_impaired.clone())),
        Layer::bars("slow or failing", Colour::Sky, state_bars(lanes, |lane, _| lane.work_impaired.clone())),
        Layer::bars("frozen", Colour::Blue, state_bars(lanes, |lane, _| lane.frozen.clone())),
        Layer::bars("down", Colour::Ink, state_bars(lanes, |lane, _| lane.down.clone())),
        Layer::bars("considered healthy", Colour::Green, view_bars(lanes, whole_run)),
        Layer::bars("considered unhealthy", Colour::Vermillion, view_bars(lanes, |lane, _| lane.unhealthy.clone())),
        Layer::points("attempt failed", Colour::Vermillion, Mark::Cross, marks(lanes, |lane| &lane.failures)),
        Layer::points("failover to here", Colour::Orange, Mark::Triangle, marks(lanes, |lane| &lane.failovers)),
        Layer::points("gave up", Colour::Ink, Mark::Cross, given_up),
    ];
    // A legend should have no entry for what did not happen.
    layers.retain(|layer| match &layer.shape {
        LayerShape::Bars(bars) => !bars.is_empty(),
        LayerShape::Points { points, .. } => !points.is_empty(),
        _ => true,
    });
    let panel = Panel { title: String::new(), y, weight: 0.2 + 0.4 * names.len() as f64, layers };
    figure(
        analysis,
        "decisions",
        "Server state and client decisions",
        "For each server, from top to bottom: its state, the client's view of it, and the client's decisions.",
        vec![panel],
    )
}

/// Returns the stretches of a lane; the end of the run is in seconds.
type PickStretches = fn(&Lane, f64) -> Vec<Stretch>;

fn whole_run(_: &Lane, end_s: f64) -> Vec<Stretch> {
    vec![Stretch { from_s: 0.0, to_s: end_s }]
}

fn state_bars(lanes: &Lanes, pick: PickStretches) -> Vec<Bar> {
    bars(lanes, pick, STATE_ROW, STATE_HEIGHT)
}

fn view_bars(lanes: &Lanes, pick: PickStretches) -> Vec<Bar> {
    bars(lanes, pick, VIEW_ROW, VIEW_HEIGHT)
}

/// Returns a bar for each stretch of each lane, `offset` below the middle of the lane.
fn bars(lanes: &Lanes, pick: PickStretches, offset: f64, height: f64) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (row, lane) in lanes.servers.iter().enumerate() {
        for stretch in pick(lane, lanes.end_s) {
            bars.push(Bar { from: stretch.from_s, to: stretch.to_s, row: row as f64 + offset, height });
        }
    }
    bars
}

/// Returns a mark for each moment of each lane.
fn marks(lanes: &Lanes, pick: fn(&Lane) -> &Vec<f64>) -> Vec<(f64, f64)> {
    let mut marks = Vec::new();
    for (row, lane) in lanes.servers.iter().enumerate() {
        marks.extend(pick(lane).iter().map(|at| (*at, row as f64 + MARK_ROW)));
    }
    marks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::{
        record::{AttemptRow, RequestRow},
        status::{Code, Outcome},
    };

    use super::*;
    use crate::rows::{PackedRow, RowTable};

    const S: u64 = 1_000_000;

    /// Ten requests a second for 90 s. The only server freezes from 45 s to 55 s: what it works on then is answered late, or
    /// after a second attempt, or fails.
    fn windows() -> Windows {
        let rows: Vec<RequestRow> = (0..900)
            .map(|id| {
                let mut row = RequestRow::blank();
                row.id = id;
                row.intended_us = id * S / 10;
                row.sent_us = Some(row.intended_us);
                row.attempts = 1;
                let mut done_us = row.intended_us + 500_000 + id * 7919 % 40_000;
                if done_us >= 45 * S && row.intended_us < 55 * S {
                    done_us += 10 * S;
                    row.attempts = 2;
                    if id % 3 == 0 {
                        row.status = Outcome::Status(Code::DeadlineExceeded);
                    }
                }
                row.done_us = Some(done_us);
                row.latency_us = Some(done_us - row.intended_us);
                row
            })
            .collect();
        Windows::of_rows(&RowTable::from_rows(&rows), &RowTable::default(), 90 * S, Duration::from_secs(1)).unwrap()
    }

    fn values<'a>(panel: &'a Panel, name: &str) -> &'a [(f64, f64)] {
        let layer = panel.layers.iter().find(|layer| layer.name == name).expect("the panel has the line");
        let LayerShape::Line { points, .. } = &layer.shape else { panic!("{name} is not a line") };
        points
    }

    #[test]
    fn no_window_before_a_freeze_shows_it() {
        let windows = windows();
        let latency = latency_panel(&windows, 1.0);
        for (name, usual_s) in [("p50", 0.54), ("p95", 0.54), ("p99", 0.54), ("max", 0.54)] {
            let before = values(&latency, name).iter().filter(|(at_s, _)| *at_s <= 45.0).take(90);
            let highest = before.clone().map(|(_, value)| *value).fold(f64::NAN, f64::max);
            assert_eq!(before.count(), 90);
            assert!(highest <= usual_s, "{name} is {highest} s before the freeze");
        }
        let after = values(&latency, "p95").iter().filter(|(at_s, _)| *at_s > 45.0);
        assert!(after.map(|(_, value)| *value).fold(0.0, f64::max) > 10.0, "the freeze is shown");
        // By intended start, the window before it would show it.
        assert!(windows.p95[44] > Some(10.0));

        let success = success_panel(&windows, 1.0);
        let rates = values(&success, "of the requests that ended in the window");
        assert!(rates.iter().take(90).all(|(at_s, rate)| *at_s <= 45.0 && (rate.is_nan() || *rate == 1.0)));
        assert!(rates.iter().any(|(_, rate)| *rate < 0.9), "the failures are shown");
        assert!(windows.success_rate()[44] < Some(1.0));

        let attempts = windows.attempts_per_call();
        assert!(attempts[..45].iter().flatten().all(|attempts| *attempts == 1.0) && attempts[55] > Some(1.0));
    }

    #[test]
    fn an_attempt_fails_in_the_window_in_which_it_ends() {
        let attempt = AttemptRow {
            request: 0,
            attempt: 1,
            server: "server-0".into(),
            start_us: 44_900_000,
            end_us: 46_900_000,
            status: Code::DeadlineExceeded,
            cause: None,
            committed_us: None,
        };
        let windows =
            Windows::of_rows(&RowTable::default(), &RowTable::from_rows(&[attempt]), 50 * S, Duration::from_secs(1))
                .unwrap();
        assert_eq!((windows.attempts_begun[44], windows.attempts_failed[44]), (1, 0));
        assert_eq!((windows.attempts_begun[46], windows.attempts_failed[46]), (0, 1));
    }

    #[test]
    fn a_dropped_request_is_a_failure_of_its_window() {
        let mut dropped = RequestRow::blank();
        dropped.intended_us = 1_500_000;
        dropped.status = Outcome::Dropped;
        let table = RowTable::from_rows(&[dropped]);
        let windows = Windows::of_rows(&table, &RowTable::default(), 3 * S, Duration::from_secs(1)).unwrap();
        assert_eq!(windows.ended_success_rate(), [None, Some(0.0), None]);
    }
}
