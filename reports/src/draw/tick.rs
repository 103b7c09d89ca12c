//! The ticks of an axis, and their labels.

use crate::figure::{Axis, Scale, Ticks};

/// A value and its label.
pub(super) type Tick = (f64, String);

/// Returns the ticks of `axis`, ascending. There are about `max` at most, unless the axis gives its ticks itself.
pub(super) fn ticks(axis: &Axis, max: usize) -> Vec<Tick> {
    match (&axis.ticks, axis.scale) {
        (Ticks::Names(names), _) => names.iter().enumerate().map(|(row, name)| (row as f64, name.clone())).collect(),
        (Ticks::Places(places), _) => places.clone(),
        (_, Scale::Logarithmic) => logarithmic(axis, max),
        (_, Scale::Linear) => linear(axis, max),
    }
}

fn linear(axis: &Axis, max: usize) -> Vec<Tick> {
    let (from, to) = axis.range;
    let step = step((to - from) / max.max(1) as f64, &axis.ticks);
    let first = (from / step).ceil() as i64;
    // A last tick at the very end must not be lost by rounding.
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).map(|value| (value, label(value, step, &axis.ticks))).collect()
}

/// Returns the smallest round number that is at least `least`. For seconds these are the usual steps of clocks.
fn step(least: f64, ticks: &Ticks) -> f64 {
    const CLOCK: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
    if *ticks == Ticks::Seconds
        && let Some(step) = CLOCK.into_iter().find(|step| *step >= least)
    {
        return step;
    }
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= least * 0.999).unwrap_or(power)
}

/// Returns the powers of ten, with two and five times each power if there are few.
fn logarithmic(axis: &Axis, max: usize) -> Vec<Tick> {
    let (from, to) = axis.range;
    let decades: Vec<i32> = (from.log10().floor() as i32..=to.log10().ceil() as i32).collect();
    // From many ticks to few.
    let choices: [(&[f64], i32); 5] = [(&[1.0, 2.0, 5.0], 1), (&[1.0, 3.0], 1), (&[1.0], 1), (&[1.0], 2), (&[1.0], 3)];
    let mut values = Vec::new();
    for (factors, every) in choices {
        values = multiples(&decades, factors, every);
        values.retain(|value| (from..=to).contains(value));
        if values.len() <= max.max(2) {
            break;
        }
    }
    values.into_iter().map(|value| (value, label(value, value, &axis.ticks))).collect()
}

/// Returns the multiples of the powers of ten whose exponent is a multiple of `every`.
fn multiples(decades: &[i32], factors: &[f64], every: i32) -> Vec<f64> {
    let mut values = Vec::new();
    for decade in decades.iter().filter(|decade| decade.rem_euclid(every) == 0) {
        values.extend(factors.iter().map(|factor| factor * 10_f64.powi(*decade)));
    }
    values
}

fn label(value: f64, step: f64, ticks: &Ticks) -> String {
    match ticks {
        Ticks::Duration => duration(value),
        Ticks::Percent => format!("{} %", number(value * 100.0, step * 100.0)),
        _ => number(value, step),
    }
}

/// Returns the number with as many decimals as the step has.
fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    match text.as_str() {
        // Rounding a small negative number leaves the sign.
        "-0" => "0".to_owned(),
        _ if value.abs() >= 1e6 && value % 1e5 == 0.0 => format!("{}M", value / 1e6),
        _ if value.abs() >= 1e4 && value % 100.0 == 0.0 => format!("{}k", value / 1e3),
        _ => text,
    }
}

fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        0.0 => return "0 s".to_owned(),
        small if small.abs() < 0.99e-3 => (small * 1e6, "µs"),
        middle if middle.abs() < 0.99 => (middle * 1e3, "ms"),
        large => (large, "s"),
    };
    let rounded = (value * 100.0).round() / 100.0;
    format!("{rounded} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, max: usize) -> Vec<String> {
        ticks(axis, max).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn seconds_are_whole_and_steps_are_those_of_clocks() {
        assert_eq!(labels(&Axis::time(90.0), 7), ["0", "15", "30", "45", "60", "75", "90"]);
        assert_eq!(labels(&Axis::time(2.0), 10), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::time(36_000.0), 4), ["0", "10k", "20k", "30k"]);
    }

    #[test]
    fn latencies_read_with_their_units() {
        let axis = Axis::latency("latency", [0.000_5, 12.0].into_iter());
        assert_eq!(labels(&axis, 6), ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        let short = Axis::latency("latency", [0.2, 0.3].into_iter());
        assert_eq!(labels(&short, 6), ["100 ms", "200 ms", "500 ms"]);
    }

    #[test]
    fn numbers_have_the_decimals_of_their_step() {
        let axis = |to| Axis { range: (0.0, to), ..Axis::from_zero("", Ticks::Number, [].into_iter()) };
        assert_eq!(labels(&axis(1.0), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&axis(10.8), 5), ["0", "5", "10"]);
        assert_eq!(labels(&axis(20_000.0), 2), ["0", "10k", "20k"]);
    }
}
