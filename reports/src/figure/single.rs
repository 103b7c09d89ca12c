//! The plots of one run.

use super::{Axis, Band, Bar, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks};
use crate::{
    analyse::{FaultImpact, Lane, RequestClass, RunAnalysis, Stretch, points::Cloud},
    frame::Windows,
};

/// The plots of a run, in the order in which they are best looked at.
pub fn figures(analysis: &RunAnalysis) -> Vec<Figure> {
    let plots = [timeseries, throughput, latency_raw, latency_quantiles, attempts, decisions];
    plots.iter().map(|plot| plot(analysis)).collect()
}

/// How long a run was, in seconds.
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
        bands: bands(&analysis.faults, end_s(analysis)),
    }
}

/// A band a fault: from its start until it was lifted.
pub(super) fn bands(faults: &[FaultImpact], end_s: f64) -> Vec<Band> {
    let band = |account: &FaultImpact| {
        let fault = &account.fault;
        let from = fault.start_us as f64 / 1e6;
        Band {
            from,
            to: fault.lifted_us.map_or(end_s, |us| us as f64 / 1e6).max(from),
            name: format!("fault-{} {} {}", fault.index, fault.kind, fault.targets.join(", ")),
            short_name: format!("{} {}", fault.index, fault.kind),
        }
    };
    faults.iter().map(band).collect()
}

/// The value of each window at its middle; NaN, which interrupts a line, where there is none.
fn at_middles(windows: &Windows, values: impl Iterator<Item = Option<f64>>) -> Vec<(f64, f64)> {
    let half = windows.length_s / 2.0;
    windows.starts().map(|start| start + half).zip(values.map(|value| value.unwrap_or(f64::NAN))).collect()
}

/// Of whole windows: the last one, which the end of the run cuts short, has no rate.
fn per_second(windows: &Windows, counts: &[u64]) -> Vec<(f64, f64)> {
    let whole = windows.whole();
    let rate = |(index, count): (usize, &u64)| (index < whole).then_some(*count as f64 / windows.length_s);
    at_middles(windows, counts.iter().enumerate().map(rate))
}

fn line(windows: &Windows, name: &str, colour: Colour, values: &[Option<f64>]) -> Layer {
    Layer::line(name, colour, at_middles(windows, values.iter().copied()))
}

fn rate_panel(windows: &Windows, weight: f64) -> Panel {
    let layers = vec![
        Layer::line("offered", Colour::Grey, per_second(windows, &windows.offered)),
        Layer::line("ended", Colour::Orange, per_second(windows, &windows.completed)),
        Layer::line("ended OK (goodput)", Colour::Blue, per_second(windows, &windows.completed_ok)),
    ];
    let highest = windows.offered.iter().chain(&windows.completed).map(|count| *count as f64 / windows.length_s);
    Panel {
        title: "Requests a second".into(),
        y: Axis::from_zero("requests / s", Ticks::Number, highest),
        weight,
        layers,
    }
}

fn latency_axis<'a>(series: impl IntoIterator<Item = &'a Vec<Option<f64>>>) -> Axis {
    Axis::latency("latency", series.into_iter().flatten().flatten().copied())
}

fn success_panel(windows: &Windows, weight: f64) -> Panel {
    Panel {
        title: "Success rate".into(),
        y: Axis { label: "succeeded".into(), scale: Scale::Linear, range: (0.0, 1.04), ticks: Ticks::Percent },
        weight,
        layers: vec![line(windows, "of the requests intended in the window", Colour::Green, &windows.success_rate())],
    }
}

/// Throughput, latency and success together.
fn timeseries(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    let latency = Panel {
        title: "Latency".into(),
        y: latency_axis([&windows.p50, &windows.p95, &windows.p99]),
        weight: 1.1,
        layers: vec![
            line(windows, "p99", Colour::Vermillion, &windows.p99),
            line(windows, "p95", Colour::Orange, &windows.p95),
            line(windows, "p50", Colour::Blue, &windows.p50),
        ],
    };
    figure(
        analysis,
        "timeseries",
        "Throughput and latency",
        "Latency counts from when a request was meant to be sent, and is shown where it was meant to be sent.",
        vec![rate_panel(windows, 1.0), latency, success_panel(windows, 0.55)],
    )
}

fn throughput(analysis: &RunAnalysis) -> Figure {
    figure(
        analysis,
        "throughput",
        "Throughput",
        "What was asked for, what ended, and what ended well, each when it happened.",
        vec![rate_panel(&analysis.windows, 1.4)],
    )
}

fn latency_raw(analysis: &RunAnalysis) -> Figure {
    let points = &analysis.points;
    let y = Axis::latency("latency", points.range_s.into_iter().flat_map(|(low, high)| [low, high]));
    let floor = y.range.0 * 1.01;
    let look = |class: RequestClass| match class {
        RequestClass::Ok => ("OK", Colour::Blue, Mark::Dot),
        RequestClass::OkAfterRetry => ("OK after retries", Colour::Orange, Mark::Dot),
        RequestClass::Degraded => ("degraded", Colour::Sky, Mark::Dot),
        RequestClass::DeadlineExceeded => ("DEADLINE_EXCEEDED", Colour::Vermillion, Mark::Cross),
        RequestClass::Unavailable => ("UNAVAILABLE", Colour::Purple, Mark::Cross),
        RequestClass::OtherError => ("other errors", Colour::Ink, Mark::Cross),
        RequestClass::Dropped => ("dropped (at the foot)", Colour::Grey, Mark::Triangle),
    };
    let layers = points.classes.iter().map(|(class, cloud)| {
        let (name, colour, mark) = look(*class);
        match cloud {
            Cloud::Few(points) => {
                let seen = |(at, latency): &(f64, f64)| (*at, if *latency > floor { *latency } else { floor });
                Layer::points(&format!("{name}: {}", points.len()), colour, mark, points.iter().map(seen).collect())
            }
            Cloud::Many { count, grid } => {
                Layer { name: format!("{name}: {count}"), colour, shape: LayerShape::Cells(grid.cells()) }
            }
        }
    });
    let dense = points.classes.iter().any(|(_, cloud)| matches!(cloud, Cloud::Many { .. }));
    let caption = if dense {
        "Every request, where it was meant to be sent; the darker, the more there are in a place."
    } else {
        "A point for every request, where it was meant to be sent."
    };
    let panel = Panel { title: String::new(), y, weight: 1.8, layers: layers.collect() };
    figure(analysis, "latency_raw", "Latency of every request", caption, vec![panel])
}

fn latency_quantiles(analysis: &RunAnalysis) -> Figure {
    let windows = &analysis.windows;
    let quantiles = [
        ("max", Colour::Ink, &windows.max),
        ("p99", Colour::Vermillion, &windows.p99),
        ("p95", Colour::Orange, &windows.p95),
        ("p50", Colour::Blue, &windows.p50),
    ];
    let above = Panel {
        title: "From the intended start".into(),
        y: latency_axis(quantiles.iter().map(|(_, _, values)| *values)),
        weight: 1.2,
        layers: quantiles.iter().map(|(name, colour, values)| line(windows, name, *colour, values)).collect(),
    };
    let beside = Panel {
        title: "Beside it, from when the call began".into(),
        y: latency_axis([&windows.p99, &windows.p50, &windows.uncorrected_p50, &windows.uncorrected_p99]),
        weight: 0.9,
        layers: vec![
            line(windows, "p99", Colour::Vermillion, &windows.p99),
            dashed(windows, "p99 uncorrected", Colour::Purple, &windows.uncorrected_p99),
            line(windows, "p50", Colour::Blue, &windows.p50),
            dashed(windows, "p50 uncorrected", Colour::Sky, &windows.uncorrected_p50),
        ],
    };
    let difference = |a: &[Option<f64>], b: &[Option<f64>]| -> Vec<Option<f64>> {
        a.iter().zip(b).map(|(a, b)| Some((a.as_ref()? - b.as_ref()?).max(0.0))).collect()
    };
    let gaps = [difference(&windows.p50, &windows.uncorrected_p50), difference(&windows.p99, &windows.uncorrected_p99)];
    let highest = gaps.iter().flatten().flatten().copied().fold(0.001, f64::max);
    let gap = Panel {
        title: "What the uncorrected figure hides".into(),
        y: Axis { label: "gap".into(), scale: Scale::Linear, range: (0.0, highest * 1.08), ticks: Ticks::Duration },
        weight: 0.55,
        layers: vec![
            line(windows, "gap at p99", Colour::Vermillion, &gaps[1]),
            line(windows, "gap at p50", Colour::Blue, &gaps[0]),
        ],
    };
    figure(
        analysis,
        "latency_quantiles",
        "Latency quantiles",
        "Of the requests meant to be sent in each window. The gap is time that a load generator which waits would not see.",
        vec![above, beside, gap],
    )
}

fn dashed(windows: &Windows, name: &str, colour: Colour, values: &[Option<f64>]) -> Layer {
    Layer::dashed(name, colour, at_middles(windows, values.iter().copied()))
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
        layers: vec![line(
            windows,
            "attempts a call, of the calls meant to begin in the window",
            Colour::Purple,
            &per_call,
        )],
    };
    let begun = windows.offered.iter().chain(&windows.attempts_begun).map(|count| *count as f64 / windows.length_s);
    let mut layers = vec![Layer::line("requests offered", Colour::Grey, per_second(windows, &windows.offered))];
    if !windows.attempts_begun.is_empty() {
        layers.push(Layer::line("attempts begun", Colour::Blue, per_second(windows, &windows.attempts_begun)));
        layers.push(Layer::line("of which failed", Colour::Vermillion, per_second(windows, &windows.attempts_failed)));
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
        "Retries multiply the load on the servers just when they can bear it least.",
        vec![amplification, load],
    )
}

/// Half a lane is how the server was, half what the client believed.
fn decisions(analysis: &RunAnalysis) -> Figure {
    let lanes = &analysis.lanes;
    let rows = lanes.servers.len();
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
    let (was, believed) = (-0.22, 0.08);
    let bars = |pick: fn(&Lane) -> &Vec<Stretch>, offset: f64, height: f64| -> Vec<Bar> {
        let of_lane = |(row, lane): (usize, &Lane)| {
            let bar =
                |stretch: &Stretch| Bar { from: stretch.from_s, to: stretch.to_s, row: row as f64 + offset, height };
            pick(lane).iter().map(bar).collect::<Vec<_>>()
        };
        lanes.servers.iter().enumerate().flat_map(of_lane).collect()
    };
    let whole = Stretch { from_s: 0.0, to_s: lanes.end_s };
    let always = |offset: f64, height: f64| -> Vec<Bar> {
        (0..rows).map(|row| Bar { from: whole.from_s, to: whole.to_s, row: row as f64 + offset, height }).collect()
    };
    let marks = |pick: fn(&Lane) -> &Vec<f64>| -> Vec<(f64, f64)> {
        let of_lane = |(row, lane): (usize, &Lane)| {
            thinned(pick(lane), lanes.end_s).into_iter().map(move |at| (at, row as f64 + 0.3)).collect::<Vec<_>>()
        };
        lanes.servers.iter().enumerate().flat_map(of_lane).collect()
    };
    let given_up = thinned(&lanes.given_up, lanes.end_s).into_iter().map(|at| (at, rows as f64)).collect();
    let mut layers = vec![
        Layer::bars("up", Colour::Pale, always(was, 0.26)),
        Layer::bars("link impaired", Colour::Purple, bars(|lane| &lane.link_impaired, was, 0.26)),
        Layer::bars("slow or failing", Colour::Sky, bars(|lane| &lane.work_impaired, was, 0.26)),
        Layer::bars("frozen", Colour::Blue, bars(|lane| &lane.frozen, was, 0.26)),
        Layer::bars("down", Colour::Ink, bars(|lane| &lane.down, was, 0.26)),
        Layer::bars("believed healthy", Colour::Green, always(believed, 0.16)),
        Layer::bars("believed unhealthy", Colour::Vermillion, bars(|lane| &lane.unhealthy, believed, 0.16)),
        Layer::points("attempt failed", Colour::Vermillion, Mark::Cross, marks(|lane| &lane.failures)),
        Layer::points("failover to here", Colour::Orange, Mark::Triangle, marks(|lane| &lane.failovers)),
        Layer::points("gave up", Colour::Ink, Mark::Cross, given_up),
    ];
    layers.retain(|layer| match &layer.shape {
        LayerShape::Bars(bars) => !bars.is_empty(),
        LayerShape::Points { points, .. } => !points.is_empty(),
        _ => true,
    });
    let panel = Panel { title: String::new(), y, weight: 0.2 + 0.4 * names.len() as f64, layers };
    figure(
        analysis,
        "decisions",
        "Who was how, and what the client made of it",
        "Each server's lane: above how it was, below what the client believed of it, then what the client did.",
        vec![panel],
    )
}

/// Of marks that would lie on each other, the first.
fn thinned(moments: &[f64], end_s: f64) -> Vec<f64> {
    const PLACES: f64 = 400.0;
    let mut taken = std::collections::BTreeSet::new();
    moments.iter().copied().filter(|at| taken.insert((at / end_s * PLACES) as i64)).collect()
}
