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
        bands: analysis.faults.iter().map(|impact| Band::for_fault(&impact.fault, end_s(analysis))).collect(),
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
    let rates = windows.success_rate();
    Panel {
        title: "Success rate".into(),
        y: Axis::shares("succeeded", SUCCESS_AXIS_MIN, rates.iter().flatten().copied()),
        weight,
        layers: vec![line(windows, "of the requests intended in the window", Colour::Green, &rates)],
    }
}

/// Returns the plot of throughput, latency and success.
fn timeseries(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    let latency = Panel {
        title: "Latency".into(),
        y: latency_axis([&windows.p50, &windows.p95, &windows.p99, &windows.max]),
        weight: 1.1,
        layers: vec![
            line(windows, "max", Colour::Ink, &windows.max),
            patterned(windows, "p99", Colour::Vermillion, Dash::Dashed, &windows.p99),
            patterned(windows, "p95", Colour::Orange, Dash::Dotted, &windows.p95),
            line(windows, "p50", Colour::Blue, &windows.p50),
        ],
    };
    figure(
        analysis,
        "timeseries",
        "Throughput and latency",
        "Each step is a window. Requests are counted when they are offered and when they end; latency counts from the intended \
         start of a request, and is shown at that time.",
        vec![rate_panel(windows, 1.0), latency, success_panel(windows, 0.55)],
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
    let beside = Panel {
        title: "From the intended and from the actual start".into(),
        y: latency_axis([&windows.p99, &windows.p50, &windows.uncorrected_p50, &windows.uncorrected_p99]),
        weight: 0.9,
        layers: vec![
            line(windows, "p99", Colour::Vermillion, &windows.p99),
            patterned(windows, "p99 uncorrected", Colour::Purple, Dash::Dashed, &windows.uncorrected_p99),
            line(windows, "p50", Colour::Blue, &windows.p50),
            patterned(windows, "p50 uncorrected", Colour::Sky, Dash::Dotted, &windows.uncorrected_p50),
        ],
    };
    figure(
        analysis,
        "latency_uncorrected",
        "Latency that a closed loop hides",
        "Requests by their intended start. The gap is waiting time that a closed-loop load generator does not measure.",
        vec![beside, gap_panel(windows)],
    )
}

/// Returns the panel of the difference between latencies from the intended and from the actual start.
fn gap_panel(windows: &Windows) -> Panel {
    let p50 = gaps(&windows.p50, &windows.uncorrected_p50);
    let p99 = gaps(&windows.p99, &windows.uncorrected_p99);
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
        layers: vec![line(windows, "attempts per call, by intended start", Colour::Purple, &per_call)],
    };
    let begun = windows.offered.iter().chain(&windows.attempts_begun).map(|count| *count as f64 / windows.length_s);
    let mut layers = vec![Layer::line("requests offered", Colour::Grey, per_second(windows, &windows.offered))];
    // Without rows of attempts their number is not known, and a line at 0 would be wrong.
    if !windows.attempts_begun.is_empty() {
        layers.push(Layer::line("attempts begun", Colour::Blue, per_second(windows, &windows.attempts_begun)));
        layers.push(Layer::dashed(
            "of which failed",
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
        "Retries multiply the load on the servers when they are least able to serve it.",
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
