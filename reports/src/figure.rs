//! Plots as data: panels over a common x axis, layers in them, and bands that run through all of them.
//!
//! The modules below make figures of runs and know nothing of pixels. [`draw`](crate::draw) draws figures and knows nothing
//! of runs. Coordinates are in the units of the axes: seconds, shares, counts. A coordinate that is NaN is left out.

pub mod alerts;
pub mod compared;
pub mod density;
pub mod fidelity;
pub mod single;
pub mod sweep;
pub mod threshold;

use kernel::measure::{ChangeSummary, FaultSummary, Summary};

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The name of its files, without the ending.
    pub name: String,
    /// The title.
    pub title: String,
    /// The run, or the sides of the comparison.
    pub subject: String,
    /// A sentence that explains the plot; may be empty.
    pub caption: String,
    /// The x axis of all panels.
    pub x: Axis,
    /// The panels from top to bottom, at least one.
    pub panels: Vec<Panel>,
    /// Stretches of the x axis, shaded in every panel and named in the first.
    pub bands: Vec<Band>,
}

/// A named stretch of the x axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The beginning.
    pub from: f64,
    /// The end, not before `from`. A band without width is drawn as a line.
    pub to: f64,
    /// The name.
    pub name: String,
    /// A shorter name, for narrow screens.
    pub short_name: String,
}

/// An axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The quantity and its unit, unless the ticks have units.
    pub label: String,
    /// The scale.
    pub scale: Scale,
    /// The values at both ends, ascending; both are positive on a logarithmic axis.
    pub range: (f64, f64),
    /// The notation of the values.
    pub ticks: Ticks,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances are equal differences.
    Linear,
    /// Equal distances are equal factors.
    Logarithmic,
}

/// The notation of the values of an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Ticks {
    /// Plain numbers.
    Number,
    /// Whole seconds. The label of the axis has the unit.
    Seconds,
    /// Durations, each with its unit, such as `10 ms`. The values are seconds.
    Duration,
    /// Percentages. The values are shares.
    Percent,
    /// Names at 0, 1, 2 …, on a y axis from the top down.
    Names(Vec<String>),
    /// These values with their labels, ascending. Only as many are drawn as there is room for.
    Places(Vec<(f64, String)>),
}

/// A part of a plot with a y axis of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The title; may be empty.
    pub title: String,
    /// The y axis.
    pub y: Axis,
    /// The height, compared with that of other panels.
    pub weight: f64,
    /// The layers. Later ones are drawn over earlier ones.
    pub layers: Vec<Layer>,
}

/// Data of one kind in a panel. A layer with a name has an entry in the legend of the panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The name in the legend; may be empty.
    pub name: String,
    /// The colour.
    pub colour: Colour,
    /// The data, and how they are drawn.
    pub shape: LayerShape,
}

/// The data of a layer, and how they are drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerShape {
    /// A line through points. A point that is NaN interrupts it.
    Line {
        /// The points: x, y.
        points: Vec<(f64, f64)>,
        /// The pattern.
        dash: Dash,
    },
    /// The area between a lower and an upper curve: x, lower, upper.
    Area(Vec<(f64, f64, f64)>),
    /// A mark at each point.
    Points {
        /// The points: x, y.
        points: Vec<(f64, f64)>,
        /// The mark.
        mark: Mark,
    },
    /// Cells of a grid, the darker the more points are in them.
    Cells(Vec<GridCell>),
    /// Bars along the x axis.
    Bars(Vec<Bar>),
}

/// The pattern of a line. Lines with different patterns can be distinguished without their colours, and where one covers
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// No gaps.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
    /// A dash and a dot by turns.
    Mixed,
}

impl Dash {
    /// Returns the pattern of the series at `index`. After the last pattern the first one follows again.
    pub fn of_series(index: usize) -> Self {
        [Self::Solid, Self::Dashed, Self::Dotted, Self::Mixed][index % 4]
    }
}

/// The mark of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A small dot.
    Dot,
    /// A large dot.
    Disc,
    /// A disc that is not filled.
    Ring,
    /// A diagonal cross.
    Cross,
    /// A triangle that points up.
    Triangle,
}

/// A rectangle of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridCell {
    /// The left and the right edge.
    pub x: (f64, f64),
    /// The lower and the upper edge.
    pub y: (f64, f64),
    /// The darkness, from 0 (excluded) to 1.
    pub weight: f64,
}

/// A stretch of a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// The beginning on the x axis.
    pub from: f64,
    /// The end on the x axis.
    pub to: f64,
    /// The middle on the y axis.
    pub row: f64,
    /// The height in units of the y axis.
    pub height: f64,
}

/// The palette of Okabe and Ito (2008). People with any kind of colour vision can distinguish its colours, on light and on
/// dark ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Colour {
    /// The colour of text.
    Ink,
    /// A grey, for what is not in the foreground.
    Grey,
    /// A pale blue, for the normal state.
    Pale,
    /// A blue.
    Blue,
    /// An orange.
    Orange,
    /// A bluish green.
    Green,
    /// A red that is close to orange.
    Vermillion,
    /// A reddish purple.
    Purple,
    /// A light blue.
    Sky,
}

impl Colour {
    /// The colours of series that have no colour of their own, in this order.
    pub const CYCLE: [Self; 6] = [Self::Blue, Self::Orange, Self::Green, Self::Purple, Self::Sky, Self::Vermillion];

    /// Returns the colour of the series at `index`. After the last colour the first one follows again.
    pub fn of_series(index: usize) -> Self {
        Self::CYCLE[index % Self::CYCLE.len()]
    }
}

impl Axis {
    /// Returns the axis of the seconds of a run, from 0 to `end_s`.
    pub fn time(end_s: f64) -> Self {
        Self {
            label: "seconds since the start of the run".into(),
            scale: Scale::Linear,
            // A run that ends at 0 still needs an axis with a length.
            range: (0.0, end_s.max(1.0)),
            ticks: Ticks::Seconds,
        }
    }

    /// Returns an axis from 0 to somewhat above the largest of `values`.
    pub fn from_zero(label: &str, ticks: Ticks, values: impl Iterator<Item = f64>) -> Self {
        let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let range = (0.0, if max > 0.0 { max * 1.08 } else { 1.0 });
        Self { label: label.into(), scale: Scale::Linear, range, ticks }
    }

    /// Returns an axis from somewhat below the lowest of `values` to somewhat above the highest, at least `least` long. It
    /// begins at 0 if that is not much further. The values must not be negative.
    pub fn fitted(ticks: Ticks, least: f64, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values.filter(|value| value.is_finite())).unwrap_or((0.0, least));
        let middle = (low + high) / 2.0;
        let low = low.min(middle - least / 2.0);
        let high = high.max(middle + least / 2.0);
        let edge = (high - low) * 0.08;
        // An axis that nearly reaches 0 is easier to read with 0 on it.
        let from = if low < high / 2.0 { 0.0 } else { low - edge };
        Self { label: String::new(), scale: Scale::Linear, range: (from, high + edge), ticks }
    }

    /// Returns an axis of shares that is fitted to `values`, at least `least` long, and ends where shares end.
    pub fn shares(label: &str, least: f64, values: impl Iterator<Item = f64>) -> Self {
        let axis = Self::fitted(Ticks::Percent, least, values);
        let (from, to) = axis.range;
        // No share is greater than 1. A little room keeps a line at 1 whole.
        Self { label: label.into(), range: (from, to.min(1.0 + (1.0 - from) * 0.06)), ..axis }
    }

    /// Returns a logarithmic axis of seconds that contains all positive `values` and is at least a decade long.
    pub fn latency(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values.filter(|value| value.is_finite() && *value > 0.0)).unwrap_or((1e-3, 1.0));
        // At least a decade, so that small differences do not look large.
        let middle = (low * high).sqrt();
        let range = (low.min(middle / 3.2) / 1.15, high.max(middle * 3.2) * 1.15);
        Self { label: label.into(), scale: Scale::Logarithmic, range, ticks: Ticks::Duration }
    }

    /// Returns the place of `value`, from 0 at the start of the range to 1 at its end. A value outside is moved to the edge.
    /// It is `None` for NaN, for infinity and, on a logarithmic axis, for values that are not positive.
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

/// Returns the points of a line that is level over each window and steps at its edges: nothing changes before the window in
/// which it happened. A missing value is NaN, which interrupts the line.
fn steps(length_s: f64, values: impl Iterator<Item = Option<f64>>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for (window, value) in values.enumerate() {
        let value = value.unwrap_or(f64::NAN);
        points.extend([(window as f64 * length_s, value), ((window + 1) as f64 * length_s, value)]);
    }
    points
}

/// Returns the least and the greatest of `values`; `None` if there are none.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent: Option<(f64, f64)>, value| {
        Some(extent.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    })
}

impl Band {
    /// Returns the band of a fault: from its start until it was lifted, or until the end of the run.
    fn for_fault(fault: &FaultSummary, end_s: f64) -> Self {
        let from = fault.start_us as f64 / 1e6;
        Self {
            from,
            to: fault.lifted_us.map_or(end_s, |us| us as f64 / 1e6).max(from),
            name: format!("fault-{} {} {}", fault.index, fault.kind, fault.targets.join(", ")),
            short_name: format!("{} {}", fault.index, fault.kind),
        }
    }
}

impl Band {
    /// Returns the bands of a run that ends at `end_s`: those of its faults, and a line for each change of a setting.
    fn of_run(summary: &Summary, end_s: f64) -> Vec<Self> {
        let faults = summary.faults.iter().map(|fault| Self::for_fault(fault, end_s));
        faults.chain(summary.changes.iter().map(Self::for_change)).collect()
    }

    /// Returns the line of a change of a setting.
    fn for_change(change: &ChangeSummary) -> Self {
        let at = change.at_us as f64 / 1e6;
        let setting = change.change.split(' ').next().unwrap_or_default();
        let value = change.change.rsplit_once(" to ").map_or("", |(_, to)| to);
        let key = setting.rsplit('.').next().unwrap_or_default();
        Self { from: at, to: at, name: format!("{setting} = {value}"), short_name: format!("{key} = {value}") }
    }
}

impl Layer {
    /// Returns a layer with a solid line.
    pub fn line(name: &str, colour: Colour, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Line { points, dash: Dash::Solid } }
    }

    /// Returns a layer with a dashed line.
    pub fn dashed(name: &str, colour: Colour, points: Vec<(f64, f64)>) -> Self {
        Self::patterned(name, colour, Dash::Dashed, points)
    }

    /// Returns a layer with a line of a pattern.
    pub fn patterned(name: &str, colour: Colour, dash: Dash, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Line { points, dash } }
    }

    /// Returns a layer with a mark at each point.
    pub fn points(name: &str, colour: Colour, mark: Mark, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, shape: LayerShape::Points { points, mark } }
    }

    /// Returns a layer with bars.
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
    fn a_window_is_level_from_its_start_to_its_end() {
        let points = steps(0.5, [Some(1.0), Some(3.0), None].into_iter());
        assert_eq!(points[..4], [(0.0, 1.0), (0.5, 1.0), (0.5, 3.0), (1.0, 3.0)]);
        assert!(points[4].1.is_nan() && points[5].1.is_nan());
    }

    #[test]
    fn an_axis_of_shares_shows_small_losses_and_ends_at_1() {
        let axis = Axis::shares("share", 0.01, [0.98, 1.0].into_iter());
        assert!(axis.range.0 > 0.97 && axis.range.1 < 1.002, "{:?}", axis.range);
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
