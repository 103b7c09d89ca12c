//! The plot of a search for boundaries: the share of runs that go well along a setting, or the plane of two settings.

use kernel::experiment::threshold::{Point, SettingRange, Spacing, TestOutcome, ValueKind};

use super::{Axis, Band, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks};
use crate::threshold::ThresholdAnalysis;

/// Free on either side of the range, in shares of it.
const EDGE: f64 = 0.04;

pub fn figures(threshold: &ThresholdAnalysis) -> Vec<Figure> {
    let identity = &threshold.search.identity;
    vec![match &identity.and {
        None => line(threshold, &identity.along),
        Some(and) => plane(threshold, &identity.along, and),
    }]
}

/// The share of runs that go well at each value, and where it tips.
fn line(threshold: &ThresholdAnalysis, along: &SettingRange) -> Figure {
    let points = threshold.search.points_in_order();
    let interval = points.iter().map(|point| {
        let (from, to) = point.test().interval();
        (point.along, from, to)
    });
    let at = |point: &Point| (point.along, point.test().share().unwrap_or(f64::NAN));
    let interval =
        Layer { name: "95 % interval".into(), colour: Colour::Grey, shape: LayerShape::Area(interval.collect()) };
    let shares = Layer::line("", Colour::Grey, points.iter().map(|point| at(point)).collect());
    let y =
        Axis { label: "share of runs".into(), scale: Scale::Linear, range: (-EDGE, 1.0 + EDGE), ticks: Ticks::Percent };
    let what = threshold.search.identity.criterion.what();
    Figure {
        name: "tip".into(),
        title: "Where runs tip".into(),
        subject: threshold.title(),
        caption: format!(
            "The share of runs in which {what} holds at each value that was asked, with Wilson's interval. Between the \
             neighbours that differ, runs tip."
        ),
        x: axis(along),
        panels: vec![Panel {
            title: String::new(),
            y,
            weight: 1.5,
            layers: [interval, shares].into_iter().chain(marks(&points, at)).collect(),
        }],
        bands: threshold.boundaries().map(|(crossing, neighbours)| band(crossing.outcome, neighbours, along)).collect(),
    }
}

/// Every value that was asked at its place in the plane, and the boundary.
fn plane(threshold: &ThresholdAnalysis, along: &SettingRange, and: &SettingRange) -> Figure {
    let points = threshold.search.points_in_order();
    let lines = lines(threshold);
    let area = |line: &Vec<Bracket>| Layer {
        name: String::new(),
        colour: Colour::Ink,
        shape: LayerShape::Area(line.iter().map(|bracket| (bracket.and, bracket.low, bracket.high)).collect()),
    };
    let gap = [(f64::NAN, f64::NAN)];
    let middles = |line: &Vec<Bracket>| {
        line.iter().map(|bracket| (bracket.and, bracket.middle(along.spacing))).chain(gap).collect::<Vec<_>>()
    };
    let bracket = |bracket: &Bracket| [(bracket.and, bracket.low), (bracket.and, bracket.high)].into_iter().chain(gap);
    let strokes = lines.iter().flat_map(middles).chain(lines.iter().flatten().flat_map(bracket)).collect();
    let boundary = Layer::line("boundary, between the neighbours that differ", Colour::Ink, strokes);
    let marks = marks(&points, |point| (point.and.unwrap_or(f64::NAN), point.along));
    let layers = lines.iter().map(area).chain([boundary]).chain(marks);
    let what = threshold.search.identity.criterion.what();
    Figure {
        name: "tip".into(),
        title: "Where runs tip".into(),
        subject: threshold.title(),
        caption: format!(
            "Where {what} holds and fails, at every pair of values that was asked. Between values of {} boundaries \
             are drawn through, unless their number changes.",
            and.key
        ),
        x: axis(and),
        panels: vec![Panel { title: String::new(), y: axis(along), weight: 2.0, layers: layers.collect() }],
        bands: Vec::new(),
    }
}

/// A layer a side, decided or open; those that have no value are left out.
fn marks(points: &[&Point], at: impl Fn(&Point) -> (f64, f64)) -> Vec<Layer> {
    let kinds = [
        ("holds", TestOutcome::Holds, true),
        ("fails", TestOutcome::Fails, true),
        ("holds by majority, open", TestOutcome::Holds, false),
        ("fails by majority, open", TestOutcome::Fails, false),
    ];
    let layer = |(name, side, decided): (&str, TestOutcome, bool)| {
        let of_kind = points.iter().filter(|point| point.outcome == side && point.decided == decided);
        let places: Vec<(f64, f64)> = of_kind.map(|point| at(point)).collect();
        let colour = if side == TestOutcome::Holds { Colour::Blue } else { Colour::Vermillion };
        let mark = if decided { Mark::Disc } else { Mark::Ring };
        (!places.is_empty()).then(|| Layer::points(name, colour, mark, places))
    };
    kinds.into_iter().filter_map(layer).collect()
}

fn band(side: TestOutcome, (low, high): (f64, f64), along: &SettingRange) -> Band {
    let (from, to) = (along.text(low), along.text(high));
    Band {
        from: low,
        to: high,
        name: format!("{} with {from}, {} with {to}", side.name(), (!side).name()),
        short_name: format!("{from} to {to}"),
    }
}

/// All of the range, and a bit of room beside it.
fn axis(range: &SettingRange) -> Axis {
    let (low, high) = (range.low, range.high);
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

/// A boundary at one value of the other setting.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bracket {
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

/// The boundaries of neighbouring values of the other setting, put together where there are as many of them on the same
/// sides. Where their number changes, nobody knows which belong together, and new lines begin.
fn lines(threshold: &ThresholdAnalysis) -> Vec<Vec<Bracket>> {
    let (mut lines, mut ends): (Vec<Vec<Bracket>>, Vec<(usize, TestOutcome)>) = (Vec::new(), Vec::new());
    for of_one in threshold.search.boundaries.chunk_by(|left, right| left.and == right.and) {
        let brackets = of_one.iter().filter_map(|crossing| {
            let ((low, high), and) = (crossing.between()?, crossing.and?);
            Some((Bracket { and, low, high }, crossing.outcome))
        });
        let brackets: Vec<(Bracket, TestOutcome)> = brackets.collect();
        let sides = brackets.iter().map(|(_, side)| side);
        if !ends.iter().map(|(_, side)| side).eq(sides) {
            ends = (lines.len()..).zip(&brackets).map(|(line, (_, side))| (line, *side)).collect();
            lines.extend(brackets.iter().map(|_| Vec::new()));
        }
        for ((line, _), (bracket, _)) in ends.iter().zip(brackets) {
            lines[*line].push(bracket);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use kernel::{
        experiment::{
            sweep::Origin,
            threshold::{Boundary, Criterion, StoppingRule, ThresholdIdentity, ThresholdRecord},
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
