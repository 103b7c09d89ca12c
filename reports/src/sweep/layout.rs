//! The layout of the plots of a grid: one setting along the x axis, a line for each value of a second one, and a plot for
//! each combination of the others.

use kernel::{
    experiment::sweep::{Axis, SweepIdentity},
    scenario::duration,
};

/// The greatest number of lines in one plot. There are as many colours that can be distinguished.
const LINES_MAX: usize = 6;

/// The greatest number of plots for one group of metrics. The tables have all variants.
const PLOTS_MAX: usize = 12;

/// The place of every variant in the plots.
#[derive(Debug, Clone, PartialEq)]
pub struct GridLayout {
    /// The first setting whose values are numbers or, if there is none, the first that has several values.
    pub x: VariedSetting,
    /// The key of the setting that has a line for each value: the first of the others.
    pub lines: Option<String>,
    /// The plots, at most twelve.
    pub plots: Vec<GridPlot>,
    /// The number of plots beyond these.
    pub undrawn: usize,
}

/// A setting, and the places of its values on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct VariedSetting {
    /// The key of the setting.
    pub key: String,
    /// The values in the notation of the command line.
    pub values: Vec<String>,
    /// The values as numbers, durations in seconds; `None` if a value is neither.
    pub numbers: Option<Vec<f64>>,
}

/// The variants that are drawn together.
#[derive(Debug, Clone, PartialEq)]
pub struct GridPlot {
    /// The settings they have in common, each a `key=value`.
    pub common: Vec<String>,
    /// The lines, at most six.
    pub lines: Vec<GridLine>,
}

/// The variants that one line connects.
#[derive(Debug, Clone, PartialEq)]
pub struct GridLine {
    /// The setting that distinguishes it, a `key=value`; `None` if only one setting is varied.
    pub setting: Option<String>,
    /// The variant at each value along the x axis; `None` for a combination that was left out.
    pub variants: Vec<Option<usize>>,
}

impl GridLayout {
    /// Returns the layout for a sweep; `None` if no setting has several values.
    pub fn from_identity(identity: &SweepIdentity) -> Option<Self> {
        let settings: Vec<VariedSetting> = identity.vary.iter().map(VariedSetting::from_axis).collect();
        let numeric = settings.iter().position(|setting| setting.numbers.is_some());
        // A setting with one value is the same in all variants, so it is of no use as an axis.
        let along = numeric.or_else(|| settings.iter().position(|setting| setting.values.len() > 1))?;
        let x = settings[along].clone();
        let others: Vec<usize> = (0..settings.len()).filter(|axis| *axis != along).collect();
        let mut plots: Vec<GridPlot> = Vec::new();
        for (variant, chosen) in identity.variants.iter().enumerate() {
            let Some(place) = chosen.get(along).and_then(|setting| x.place(setting)) else { continue };
            let mut rest = others.iter().filter_map(|axis| chosen.get(*axis)).cloned();
            let setting = rest.next();
            let common: Vec<String> = rest.collect();
            let plot = found_or(
                &mut plots,
                |plot| plot.common == common,
                || GridPlot { common: common.clone(), lines: Vec::new() },
            );
            let line = found_or(
                &mut plot.lines,
                |line| line.setting == setting,
                || GridLine { setting: setting.clone(), variants: vec![None; x.values.len()] },
            );
            line.variants[place] = Some(variant);
        }
        let lines = others.first().map(|axis| settings[*axis].key.clone());
        let mut plots: Vec<GridPlot> = plots.into_iter().flat_map(GridPlot::readable).collect();
        let undrawn = plots.split_off(plots.len().min(PLOTS_MAX)).len();
        Some(Self { x, lines, plots, undrawn })
    }
}

impl GridPlot {
    /// Returns the plot, cut into several if it has more lines than can be distinguished.
    fn readable(self) -> Vec<Self> {
        let parts = self.lines.chunks(LINES_MAX);
        parts.map(|lines| Self { common: self.common.clone(), lines: lines.to_vec() }).collect()
    }
}

impl VariedSetting {
    fn from_axis(axis: &Axis) -> Self {
        // A mix of numbers and durations has no common unit, so all values must be of one kind.
        let numbers: Option<Vec<f64>> = axis.values.iter().map(|value| number(value)).collect();
        let seconds: Option<Vec<f64>> = axis.values.iter().map(|value| seconds(value)).collect();
        // A single value does not make an axis.
        let numbers = numbers.or(seconds).filter(|numbers| numbers.len() > 1);
        Self { key: axis.key.clone(), values: axis.values.clone(), numbers }
    }

    /// Returns the index of the value that `setting`, a `key=value`, has.
    fn place(&self, setting: &str) -> Option<usize> {
        let value = setting.strip_prefix(&self.key)?.strip_prefix('=')?;
        self.values.iter().position(|other| other == value)
    }
}

fn number(value: &str) -> Option<f64> {
    value.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Returns the seconds of a duration, with or without quotes.
fn seconds(value: &str) -> Option<f64> {
    duration::parse(value.trim_matches(['"', '\''])).ok().map(|duration| duration.as_secs_f64())
}

/// Returns the first item for which `is_it` returns true, or a new one at the end.
fn found_or<T>(items: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = items.iter().position(is_it).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    });
    &mut items[index]
}

#[cfg(test)]
mod tests {
    use kernel::{
        experiment::sweep::{Origin, Seeds, Shard, grid},
        run_folder::CalibrationInfo,
    };

    use super::*;

    fn axes(vary: &[&str]) -> Vec<Axis> {
        vary.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn identity(vary: Vec<Axis>, variants: Vec<Vec<String>>) -> SweepIdentity {
        SweepIdentity {
            world: "sim".to_owned(),
            version: String::new(),
            scenario: "story".to_owned(),
            scenario_sha256: String::new(),
            seeds: Seeds { start: 0, end: 4 },
            shard: Shard::WHOLE,
            vary,
            variants,
            calibration: CalibrationInfo { name: String::new(), sha256: String::new() },
            origin: Origin { scenario: String::new(), overrides: Vec::new(), calibration: None },
        }
    }

    fn layout(vary: &[&str]) -> Option<GridLayout> {
        let axes = axes(vary);
        let variants = grid(&axes).unwrap();
        GridLayout::from_identity(&identity(axes, variants))
    }

    #[test]
    fn numbers_and_durations_have_their_place_and_everything_else_its_order() {
        let numbers = |vary: &str| layout(&[vary]).unwrap().x.numbers;
        assert_eq!(numbers("client.retry.max_attempts=1,2,4"), Some(vec![1.0, 2.0, 4.0]));
        assert_eq!(numbers("client.deadline=250ms,1s,1m"), Some(vec![0.25, 1.0, 60.0]));
        assert_eq!(numbers("client.deadline=\"1s\",\"2s\""), Some(vec![1.0, 2.0]));
        for words in ["client.hedging=off,50ms", "client.load_balancing=random,pick_first", "a=1,1s", "a=inf,1"] {
            assert_eq!(numbers(words), None, "{words}");
        }
    }

    #[test]
    fn a_single_value_is_no_axis() {
        assert_eq!((layout(&[]), layout(&["a=7"])), (None, None));
        assert_eq!(layout(&["a=7", "b=x,y"]).unwrap().x.key, "b");
    }

    #[test]
    fn a_second_setting_makes_the_lines() {
        let grid = layout(&["client.hedging=off,50ms", "load.rate=5,9,20"]).unwrap();
        assert_eq!((grid.x.key.as_str(), grid.lines.as_deref()), ("load.rate", Some("client.hedging")));
        let lines: Vec<_> =
            grid.plots[0].lines.iter().map(|line| (line.setting.as_deref(), line.variants.clone())).collect();
        let of = |first: usize| (first..first + 3).map(Some).collect::<Vec<_>>();
        assert_eq!(lines, [(Some("client.hedging=off"), of(0)), (Some("client.hedging=50ms"), of(3))]);
        assert_eq!(grid.plots.len(), 1);
    }

    #[test]
    fn further_settings_and_further_lines_have_plots_of_their_own() {
        let three = layout(&["a=1,2", "b=x,y", "c=u,v,w"]).unwrap();
        let common: Vec<_> = three.plots.iter().map(|plot| plot.common.join(" ")).collect();
        assert_eq!(common, ["c=u", "c=v", "c=w"]);
        assert!(three.plots.iter().all(|plot| plot.lines.len() == 2));
        let many = layout(&["a=1,2", "b=3,4,5,6,7,8,9,10"]).unwrap();
        assert_eq!(many.plots.iter().map(|plot| plot.lines.len()).collect::<Vec<_>>(), [6, 2]);
        let too_many = layout(&["a=1,2", "b=x,y", "c=1,2,3,4,5", "d=1,2,3,4"]).unwrap();
        assert_eq!((too_many.plots.len(), too_many.undrawn), (12, 8));
    }

    #[test]
    fn what_was_left_out_is_a_gap() {
        let axes = axes(&["client.retry.max_attempts=1,2,3", "client.hedging=off,50ms"]);
        let mut variants = grid(&axes).unwrap();
        variants.retain(|settings| settings[0].ends_with("=1") || settings[1].ends_with("=off"));
        let lines = GridLayout::from_identity(&identity(axes, variants)).unwrap().plots.remove(0).lines;
        assert_eq!(lines[0].variants, [Some(0), Some(2), Some(3)]);
        assert_eq!(lines[1].variants, [Some(1), None, None]);
    }
}
