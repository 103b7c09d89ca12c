//! Names along the x axis, in several rows if they do not fit beside each other.

use super::canvas::text_width;
use crate::figure::{Axis, Ticks};

/// The distance from one row of names to the next.
pub(super) const ROW: f64 = 14.0;

/// The greatest number of rows.
const ROWS_MAX: usize = 3;

/// The least distance between two names.
const SPACE: f64 = 6.0;

/// Returns the number of rows that the names of `axis` need if it is `length` pixels long; 1 if it has no names.
pub(super) fn rows(axis: &Axis, length: f64, size: f64) -> usize {
    let Ticks::Names(names) = &axis.ticks else { return 1 };
    let widest = names.iter().map(|name| text_width(name, size)).fold(0.0, f64::max) + SPACE;
    (1..ROWS_MAX).find(|rows| widest <= slot(names, length) * *rows as f64).unwrap_or(ROWS_MAX)
}

/// Returns `name`, one of `axis` in `rows` rows, shortened if there is not enough room for it.
pub(super) fn cut(name: &str, axis: &Axis, length: f64, rows: usize, size: f64) -> String {
    let Ticks::Names(names) = &axis.ticks else { return name.to_owned() };
    let room = slot(names, length) * rows as f64 - SPACE;
    if text_width(name, size) <= room {
        return name.to_owned();
    }
    // One character is replaced by the ellipsis, and at least one stays.
    let characters = (room / text_width("n", size)) as usize;
    let kept: String = name.chars().take(characters.saturating_sub(1).max(1)).collect();
    format!("{kept}…")
}

/// Returns the part of the axis that belongs to one name.
fn slot(names: &[String], length: f64) -> f64 {
    length / names.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Scale;

    fn axis(names: &[&str]) -> Axis {
        let ticks = Ticks::Names(names.iter().map(|name| (*name).to_owned()).collect());
        Axis { label: String::new(), scale: Scale::Linear, range: (-0.5, names.len() as f64 - 0.5), ticks }
    }

    #[test]
    fn names_that_do_not_fit_beside_each_other_stand_below_each_other() {
        let axis = axis(&["pick_first", "round_robin", "random", "least_request", "peak_ewma"]);
        assert_eq!([866.0, 302.0, 120.0].map(|length| rows(&axis, length, 11.5)), [1, 2, 3]);
        assert_eq!(rows(&Axis::time(90.0), 10.0, 11.5), 1);
    }

    #[test]
    fn a_name_that_does_not_fit_is_shortened() {
        let axis = axis(&["[\"8x8\",\"9x9\"]", "[\"256x256\",\"512x512\"]"]);
        assert_eq!(cut("[\"8x8\",\"9x9\"]", &axis, 866.0, 1, 11.5), "[\"8x8\",\"9x9\"]");
        let short = cut("[\"256x256\",\"512x512\"]", &axis, 60.0, 3, 11.5);
        assert!(short.starts_with("[\"256x") && short.ends_with('…') && text_width(&short, 11.5) <= 90.0, "{short}");
    }
}
