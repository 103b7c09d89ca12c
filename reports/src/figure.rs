//! What a plot shows, without a word on how it is drawn: panels over a common x axis, layers in them, and bands that
//! run through all of them. Whoever makes a figure knows nothing of pixels, and whoever draws one nothing of runs.
//!
//! Coordinates are in the axes' units: seconds, shares, counts. A coordinate that is no number is left out.

pub mod compared;
pub mod density;
pub mod fidelity;
pub mod single;
pub mod sweep;
pub mod threshold;

/// A plot, and the name of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Names the files: `timeseries`.
    pub name: String,
    pub title: String,
    /// What it is of: a run, or the sides of a comparison.
    pub subject: String,
    /// What is shown, in a sentence; may be empty.
    pub caption: String,
    pub x: Axis,
    /// From top to bottom, at least one.
    pub panels: Vec<Panel>,
    /// Stretches of the x axis, shaded in every panel and named in the first.
    pub bands: Vec<Band>,
}

/// A named stretch of the x axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    pub from: f64,
    /// Not before `from`; a band without width is a line.
    pub to: f64,
    pub name: String,
    /// What is left of the name where there is little room.
    pub short_name: String,
}

/// A direction of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// With its unit, such as `latency`.
    pub label: String,
    pub scale: Scale,
    /// From and to, ascending; of a logarithmic axis both positive.
    pub range: (f64, f64),
    pub ticks: Ticks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Logarithmic,
}

/// How the values of an axis read.
#[derive(Debug, Clone, PartialEq)]
pub enum Ticks {
    /// Plain numbers.
    Number,
    /// Whole seconds, the unit being in the axis's label.
    Seconds,
    /// Durations from seconds, each with its unit: `10 ms`.
    Duration,
    /// Percentages from shares.
    Percent,
    /// Names at 0, 1, 2 …, on a y axis from the top down.
    Names(Vec<String>),
    /// These values, ascending, as they read; as many of them as there is room for.
    Places(Vec<(f64, String)>),
}

/// A rectangle with a y axis of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub title: String,
    pub y: Axis,
    /// Its share of the height among the panels.
    pub weight: f64,
    /// Later ones are drawn over earlier ones.
    pub layers: Vec<Layer>,
}

/// Something drawn in a panel. A layer with a name has an entry in the panel's legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub name: String,
    pub colour: Colour,
    pub shape: LayerShape,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LayerShape {
    /// Lines through points; a point that is no number interrupts it.
    Line {
        points: Vec<(f64, f64)>,
        dashed: bool,
    },
    /// The area between a lower and an upper curve: x, lower, upper.
    Area(Vec<(f64, f64, f64)>),
    Points {
        points: Vec<(f64, f64)>,
        mark: Mark,
    },
    /// Cells of a grid by how much is in them.
    Cells(Vec<GridCell>),
    /// Bars along the x axis.
    Bars(Vec<Bar>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Dot,
    /// A large dot.
    Disc,
    /// A disc that is not filled.
    Ring,
    Cross,
    Triangle,
}

/// A rectangle of the plane, as dark as `weight`, from 0 (excluded) to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridCell {
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub weight: f64,
}

/// A stretch of a lane: `row` and `height` are in units of the y axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    pub from: f64,
    pub to: f64,
    pub row: f64,
    pub height: f64,
}

/// Okabe and Ito's palette (2008), told apart by people with any kind of colour vision, on light and dark ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Colour {
    /// That of text.
    Ink,
    Grey,
    /// For what is as it should be.
    Pale,
    Blue,
    Orange,
    Green,
    Vermillion,
    Purple,
    Sky,
}

impl Colour {
    /// For things that have no colour of their own, in this order.
    pub const CYCLE: [Self; 6] = [Self::Blue, Self::Orange, Self::Green, Self::Purple, Self::Sky, Self::Vermillion];
}

impl Axis {
    /// Seconds of the run, from 0 to `end_s`.
    pub fn time(end_s: f64) -> Self {
        Self {
            label: "seconds since the run began".into(),
            scale: Scale::Linear,
            range: (0.0, end_s.max(1.0)),
            ticks: Ticks::Seconds,
        }
    }

    /// From 0 to somewhat above the largest of `values`.
    pub fn from_zero(label: &str, ticks: Ticks, values: impl Iterator<Item = f64>) -> Self {
        let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let range = (0.0, if max > 0.0 { max * 1.08 } else { 1.0 });
        Self { label: label.into(), scale: Scale::Linear, range, ticks }
    }

    /// From the lowest of `values`, which are not negative, to the highest, or from 0 if that is not much further; at
    /// least `least` long.
    pub fn fitted(ticks: Ticks, least: f64, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, least) };
        let middle = (low + high) / 2.0;
        let (low, high) = (low.min(middle - least / 2.0), high.max(middle + least / 2.0));
        let edge = (high - low) * 0.08;
        let from = if low < high / 2.0 { 0.0 } else { low - edge };
        Self { label: String::new(), scale: Scale::Linear, range: (from, high + edge), ticks }
    }

    /// Latencies on a logarithmic scale that holds all positive `values`, in seconds; a decade at least.
    pub fn latency(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) =
            positive.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (1e-3, 1.0) };
        let middle = (low * high).sqrt();
        let range = (low.min(middle / 3.2) / 1.15, high.max(middle * 3.2) * 1.15);
        Self { label: label.into(), scale: Scale::Logarithmic, range, ticks: Ticks::Duration }
    }

    /// Where `value` lies, from 0 at the start of the range to 1 at its end; what lies outside is moved to the edge.
    /// `None` of what has no place on it: no number or, on a logarithmic axis, nothing positive.
    pub fn position(&self, value: f64) -> Option<f64> {
        let (from, to) = self.range;
        let share = match self.scale {
            _ if !value.is_finite() => return None,
            Scale::Linear => (value - from) / (to - from),
            Scale::Logarithmic if value <= 0.0 => return None,
            Scale::Logarithmic => (value / from).ln() / (to / from).ln(),
        };
        Some(share.clamp(0.0, 1.0))
    }
}

impl Layer {
    pub fn line(name: &str, colour: Colour, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Line { points, dashed: false } }
    }

    pub fn dashed(name: &str, colour: Colour, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Line { points, dashed: true } }
    }

    pub fn points(name: &str, colour: Colour, mark: Mark, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Points { points, mark } }
    }

    pub fn bars(name: &str, colour: Colour, bars: Vec<Bar>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Bars(bars) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_axis_spans_a_decade_and_holds_its_values() {
        let axis = Axis::latency("latency", [0.25, 0.25].into_iter());
        assert!(axis.range.1 / axis.range.0 >= 10.0, "{:?}", axis.range);
        let middle = axis.position(0.25).unwrap();
        assert!((0.49..0.51).contains(&middle));
        assert_eq!(axis.position(0.0), None);
    }

    #[test]
    fn what_lies_outside_is_moved_to_the_edge() {
        let axis = Axis::time(90.0);
        assert_eq!((axis.position(-1.0), axis.position(45.0), axis.position(100.0)), (Some(0.0), Some(0.5), Some(1.0)));
        assert_eq!(axis.position(f64::NAN), None);
    }

    #[test]
    fn a_fitted_axis_begins_near_its_values_or_at_0() {
        let range = |values: &[f64]| Axis::fitted(Ticks::Percent, 0.01, values.iter().copied()).range;
        let (from, to) = range(&[0.98, 1.0]);
        assert!((0.97..0.98).contains(&from) && (1.0..1.01).contains(&to), "{from} to {to}");
        let (from, to) = range(&[1.0, 1.0]);
        assert!(from < 0.995 && (1.005..1.01).contains(&to), "{from} to {to}");
        assert_eq!(range(&[0.1, 0.9]).0, 0.0);
    }

    #[test]
    fn an_axis_of_nothing_still_has_a_length() {
        assert_eq!(Axis::from_zero("n", Ticks::Number, [].into_iter()).range, (0.0, 1.0));
        assert_eq!(Axis::fitted(Ticks::Number, 1.0, [].into_iter()).range, (0.0, 1.08));
        assert!(Axis::latency("l", [f64::NAN].into_iter()).range.0.is_finite());
    }
}
