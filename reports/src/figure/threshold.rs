//! The plot of a search for a threshold: the share of runs that pass along a setting, or the plane of two settings.

use kernel::experiment::threshold::{Boundary, Point, SettingRange, Spacing, TestOutcome, ValueKind};

use super::{Axis, Band, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks};
use crate::threshold::ThresholdAnalysis;

/// The margin at either end of an axis, as a share of its range.
const EDGE: f64 = 0.04;

/// The kinds of points, with their names in the legend: the outcome, and whether it is decided.
const KINDS: [(&str, TestOutcome, bool); 4] = [
    ("holds", TestOutcome::Holds, true),
    ("fails", TestOutcome::Fails, true),
    ("holds by majority, undecided", TestOutcome::Holds, false),
    ("fails by majority, undecided", TestOutcome::Fails, false),
];

/// Returns the plot of a search: along one setting, or in the plane of two.
pub fn figures(threshold: &ThresholdAnalysis) -> Vec<Figure> {
    let identity = &threshold.search.identity;
    vec![match &identity.and {
        None => line(threshold, &identity.along),
        Some(and) => plane(threshold, &identity.along, and),
    }]
}

/// Returns the figure that both kinds of plots fill with their panel.
fn figure(threshold: &ThresholdAnalysis, caption: String, x: Axis, panel: Panel) -> Figure {
    Figure {
        name: "tip".into(),
        title: "Threshold".into(),
        subject: threshold.title(),
        caption,
        x,
        panels: vec![panel],
        bands: Vec::new(),
    }
}

/// Returns the plot of the share of runs that pass at each value, with a band at each boundary.
fn line(threshold: &ThresholdAnalysis, along: &SettingRange) -> Figure {
    let points = threshold.search.points_in_order();
    let mut intervals = Vec::with_capacity(points.len());
    for point in &points {
        let (from, to) = point.test().interval();
        intervals.push((point.along, from, to));
    }
    let intervals = Layer { name: "95 % interval".into(), colour: Colour::Grey, shape: LayerShape::Area(intervals) };
    let shares = Layer::line("", Colour::Grey, points.iter().map(|point| share_at(point)).collect());
    let y =
        Axis { label: "share of runs".into(), scale: Scale::Linear, range: (-EDGE, 1.0 + EDGE), ticks: Ticks::Percent };
    let caption = format!(
        "The share of runs in which {} holds at each tested value, with Wilson's interval. The threshold lies \
         between the neighbours that differ.",
        threshold.search.identity.criterion.what()
    );
    let layers = [intervals, shares].into_iter().chain(marks(&points, share_at)).collect();
    let panel = Panel { title: String::new(), y, weight: 1.5, layers };
    Figure {
        bands: threshold.boundaries().map(|(boundary, between)| band(boundary.outcome, between, along)).collect(),
        ..figure(threshold, caption, axis(along), panel)
    }
}

fn share_at(point: &Point) -> (f64, f64) {
    (point.along, point.test().share().unwrap_or(f64::NAN))
}

/// Returns the plot of every tested pair of values in the plane, with the boundary.
fn plane(threshold: &ThresholdAnalysis, along: &SettingRange, and: &SettingRange) -> Figure {
    let points = threshold.search.points_in_order();
    let lines = lines(threshold);
    let mut layers: Vec<Layer> = lines.iter().map(|line| bracket_area(line)).collect();
    layers.push(boundary_layer(&lines, along.spacing));
    layers.extend(marks(&points, |point| (point.and.unwrap_or(f64::NAN), point.along)));
    let caption = format!(
        "Where {} holds and fails, for each tested pair of values. Boundaries are connected across values of {}, \
         unless their number changes.",
        threshold.search.identity.criterion.what(),
        and.key
    );
    let panel = Panel { title: String::new(), y: axis(along), weight: 2.0, layers };
    figure(threshold, caption, axis(and), panel)
}

/// Returns the area between the neighbours along a boundary.
fn bracket_area(line: &[Bracket]) -> Layer {
    Layer {
        name: String::new(),
        colour: Colour::Ink,
        shape: LayerShape::Area(line.iter().map(|bracket| (bracket.and, bracket.low, bracket.high)).collect()),
    }
}

/// Returns the lines through the middles of the brackets, and a stroke across each bracket.
fn boundary_layer(lines: &[Vec<Bracket>], spacing: Spacing) -> Layer {
    let gap = (f64::NAN, f64::NAN);
    let mut strokes = Vec::new();
    for line in lines {
        strokes.extend(line.iter().map(|bracket| (bracket.and, bracket.middle(spacing))));
        strokes.push(gap);
    }
    for bracket in lines.iter().flatten() {
        strokes.extend([(bracket.and, bracket.low), (bracket.and, bracket.high), gap]);
    }
    Layer::line("boundary, between the neighbours that differ", Colour::Ink, strokes)
}

/// Returns a layer for each kind of points that there are. `at` is the place of a point.
fn marks(points: &[&Point], at: impl Fn(&Point) -> (f64, f64)) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (name, outcome, decided) in KINDS {
        let of_kind = points.iter().filter(|point| point.outcome == outcome && point.decided == decided);
        let places: Vec<(f64, f64)> = of_kind.map(|point| at(point)).collect();
        let colour = if outcome == TestOutcome::Holds { Colour::Blue } else { Colour::Vermillion };
        let mark = if decided { Mark::Disc } else { Mark::Ring };
        if !places.is_empty() {
            layers.push(Layer::points(name, colour, mark, places));
        }
    }
    layers
}

/// Returns the band between the two neighbours of a boundary. `outcome` is that of the lower one.
fn band(outcome: TestOutcome, (low, high): (f64, f64), along: &SettingRange) -> Band {
    let from = along.text(low);
    let to = along.text(high);
    Band {
        from: low,
        to: high,
        name: format!("{} with {from}, {} with {to}", outcome.name(), (!outcome).name()),
        short_name: format!("{from} to {to}"),
    }
}

/// Returns the axis of a setting: its range with a margin at either end.
fn axis(range: &SettingRange) -> Axis {
    let SettingRange { low, high, .. } = *range;
    let ticks = if range.kind == ValueKind::Seconds { Ticks::Duration } else { Ticks::Number };
    let label = range.key.clone();
    match range.spacing {
        Spacing::Linear => {
            let edge = (high - low) * EDGE;
            Axis { label, scale: Scale::Linear, range: (low - edge, high + edge), ticks }
        }
        Spacing::Logarithmic => {
            let edge = (high / low).powf(EDGE);
            Axis { label, scale: Scale::Logarithmic, range: (low / edge, high * edge), ticks }
        }
    }
}

/// The two neighbours at a boundary, for one value of the other setting.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bracket {
    /// The value of the other setting.
    and: f64,
    low: f64,
    high: f64,
}

impl Bracket {
    fn middle(&self, spacing: Spacing) -> f64 {
        match spacing {
            Spacing::Linear => (self.low + self.high) / 2.0,
            Spacing::Logarithmic => (self.low * self.high).sqrt(),
        }
    }
}

/// Returns the boundaries as lines along the other setting.
///
/// Neighbouring values continue the lines where they have as many boundaries with the same outcomes. Where the number
/// changes, it is not known which boundaries belong together, and new lines begin.
fn lines(threshold: &ThresholdAnalysis) -> Vec<Vec<Bracket>> {
    let mut lines: Vec<Vec<Bracket>> = Vec::new();
    // The lines that may continue, with the outcome below each.
    let mut ends: Vec<(usize, TestOutcome)> = Vec::new();
    for of_one in threshold.search.boundaries.chunk_by(|left, right| left.and == right.and) {
        let brackets: Vec<(Bracket, TestOutcome)> = of_one.iter().filter_map(bracket).collect();
        let outcomes = brackets.iter().map(|(_, outcome)| outcome);
        // A line needs a boundary with the same outcome at both values.
        if !ends.iter().map(|(_, outcome)| outcome).eq(outcomes) {
            ends = (lines.len()..).zip(&brackets).map(|(line, (_, outcome))| (line, *outcome)).collect();
            lines.extend(brackets.iter().map(|_| Vec::new()));
        }
        for ((line, _), (bracket, _)) in ends.iter().zip(brackets) {
            lines[*line].push(bracket);
        }
    }
    lines
}

/// Returns the neighbours at a boundary, and the outcome at the lower one; `None` if the value has no boundary.
fn bracket(boundary: &Boundary) -> Option<(Bracket, TestOutcome)> {
    let (low, high) = boundary.between()?;
    Some((Bracket { and: boundary.and?, low, high }, boundary.outcome))
}

#[cfg(test)]
mod tests {
    use kernel::{
        experiment::{
            sweep::Origin,
            threshold::{Criterion, StoppingRule, ThresholdIdentity, ThresholdRecord},
        },
        run_folder::CalibrationInfo,
    };

    use super::*;

    /// Boundaries, a list for each value of the other setting from 1 on.
    fn threshold(boundaries: &[&[f64]]) -> ThresholdAnalysis {
        let crossings = boundaries.iter().zip(1_u8..).flat_map(|(of_one, and)| {
            let side = |index: usize| if index.is_multiple_of(2) { TestOutcome::Holds } else { TestOutcome::Fails };
            let and = Some(f64::from(and));
            let none = Boundary { and, low: None, high: None, outcome: TestOutcome::Holds };
            let some = of_one.iter().enumerate().map(|(index, low)| Boundary {
                and,
                low: Some(*low),
                high: Some(low + 1.0),
                outcome: side(index),
            });
            if of_one.is_empty() { vec![none] } else { some.collect() }
        });
        let identity = ThresholdIdentity {
            world: "sim".to_owned(),
            version: String::new(),
            scenario: "story".to_owned(),
            criterion: Criterion::Expectations,
            along: "load.rate=1..100".parse().unwrap(),
            and: Some("servers.workers=1..9".parse().unwrap()),
            samples: 9,
            confidence: 0.95,
            rule: StoppingRule { lead: 5, runs_max: 50 },
            from_seed: 0,
            calibration: CalibrationInfo { name: String::new(), sha256: String::new() },
            origin: Origin { scenario: String::new(), overrides: Vec::new(), calibration: None },
        };
        let crossings = crossings.collect();
        ThresholdAnalysis::from_search(ThresholdRecord {
            identity,
            scenario: String::new(),
            points: Vec::new(),
            boundaries: crossings,
        })
    }

    #[test]
    fn boundaries_are_one_line_while_there_are_as_many() {
        let drawn = |boundaries: &[&[f64]]| -> Vec<Vec<(f64, f64)>> {
            let lines = lines(&threshold(boundaries));
            lines.iter().map(|line| line.iter().map(|bracket| (bracket.and, bracket.low)).collect()).collect()
        };
        assert_eq!(drawn(&[&[5.0], &[6.0], &[8.0]]), [[(1.0, 5.0), (2.0, 6.0), (3.0, 8.0)]]);
        assert_eq!(drawn(&[&[5.0, 9.0], &[6.0, 8.0]]), [[(1.0, 5.0), (2.0, 6.0)], [(1.0, 9.0), (2.0, 8.0)]]);
        assert_eq!(drawn(&[&[5.0], &[], &[8.0]]), [[(1.0, 5.0)], [(3.0, 8.0)]]);
        assert_eq!(drawn(&[&[5.0], &[6.0, 9.0]]), [[(1.0, 5.0)], [(2.0, 6.0)], [(2.0, 9.0)]]);
    }

    #[test]
    fn an_axis_is_spaced_as_its_range_is() {
        let range: SettingRange = "fault.0.duration=1s..100s".parse().unwrap();
        assert_eq!((axis(&range).scale, axis(&range).ticks), (Scale::Linear, Ticks::Duration));
        let logarithmic = axis(&range.logarithmic().unwrap());
        assert_eq!(logarithmic.scale, Scale::Logarithmic);
        assert!((logarithmic.position(10.0).unwrap() - 0.5).abs() < 1e-9);
        let bracket = Bracket { and: 1.0, low: 1.0, high: 4.0 };
        assert_eq!([Spacing::Linear, Spacing::Logarithmic].map(|spacing| bracket.middle(spacing)), [2.5, 2.0]);
    }
}
