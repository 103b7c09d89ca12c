//! A value that changes over the time of a run as stages describe it.

use super::settings::Shape;

/// A value over time, such as a rate, from the start of the run without an end. It is never negative.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    /// The parts, one behind the other. The last one has no end, and one value.
    segments: Vec<Segment>,
}

/// A part of a run in which the value changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    /// The start, in seconds since the start of the run.
    pub(crate) start: f64,
    /// The length in seconds; infinite for the last segment.
    length: f64,
    /// The value at the start.
    from: f64,
    /// The value at the end, which the next segment need not begin with.
    to: f64,
}

/// A stage, as far as one value is concerned.
pub(crate) struct Change {
    /// The length of the stage in seconds.
    pub(crate) length: f64,
    /// The value at the end of the stage; `None` if it stays.
    pub(crate) to: Option<f64>,
    /// The way to that value.
    pub(crate) shape: Shape,
}

impl Profile {
    /// Creates the profile of a value that is `first` at the start and changes by `changes`, one after the other. Then it stays.
    pub(crate) fn new(first: f64, changes: impl Iterator<Item = Change>) -> Self {
        let mut segments = Vec::new();
        let mut start = 0.0;
        let mut value = first;
        for Change { length, to, shape } in changes {
            let to = to.unwrap_or(value);
            let from = if shape == Shape::Step { to } else { value };
            segments.push(Segment { start, length, from, to });
            start += length;
            value = to;
        }
        segments.push(Segment { start, length: f64::INFINITY, from: value, to: value });
        Self { segments }
    }

    /// Returns the segments in order, at least one.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the integral of the value over the first `seconds` of the run.
    pub(crate) fn area(&self, seconds: f64) -> f64 {
        self.begun(seconds).map(|segment| segment.area((seconds - segment.start).min(segment.length))).sum()
    }

    /// Returns the largest value in the first `seconds` of the run.
    pub(crate) fn peak(&self, seconds: f64) -> f64 {
        self.begun(seconds).map(|segment| segment.from.max(segment.at(seconds - segment.start))).fold(0.0, f64::max)
    }

    /// Returns the segments that begin before the time.
    fn begun(&self, seconds: f64) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take_while(move |segment| segment.start < seconds)
    }
}

impl Segment {
    /// Returns the end, in seconds since the start of the run.
    pub(crate) fn end(&self) -> f64 {
        self.start + self.length
    }

    /// Returns true if the value is the same all the time.
    fn is_flat(&self) -> bool {
        self.from == self.to
    }

    /// Returns the value `offset` seconds after the start of the segment, or at its end if that is earlier.
    fn at(&self, offset: f64) -> f64 {
        if self.is_flat() || offset >= self.length {
            return self.to;
        }
        self.from + (self.to - self.from) * (offset / self.length)
    }

    /// Returns the integral of the value over the first `offset` seconds of the segment.
    fn area(&self, offset: f64) -> f64 {
        (self.from + self.at(offset)) / 2.0 * offset
    }

    /// Returns the integral of the value over the segment; infinite if it has no end, unless the value is 0.
    pub(crate) fn whole_area(&self) -> f64 {
        // The product of 0 and infinity is no number.
        if self.from == 0.0 && self.to == 0.0 { 0.0 } else { self.area(self.length) }
    }

    /// Returns the start and the end of the part of the segment in which the value is at least `least`, which is positive.
    pub(crate) fn at_least(&self, least: f64) -> Option<(f64, f64)> {
        if self.from.max(self.to) < least {
            return None;
        }
        if self.from.min(self.to) >= least {
            return Some((self.start, self.end()));
        }
        let crossing = self.start + self.length * ((least - self.from) / (self.to - self.from));
        Some(if self.from < self.to { (crossing, self.end()) } else { (self.start, crossing) })
    }

    /// Returns the time at which the integral from the start of the segment is `area`, which is less than the whole one.
    pub(crate) fn time_of_area(&self, area: f64) -> f64 {
        if self.is_flat() {
            return self.start + area / self.from;
        }
        let slope = (self.to - self.from) / self.length;
        let value = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        // This form of the root of a quadratic equation has no difference of nearly equal numbers. Only where the segment begins
        // with 0 there is nothing to divide by.
        let offset = if area > 0.0 { 2.0 * area / (self.from + value) } else { 0.0 };
        self.start + offset.min(self.length)
    }

    /// Returns the time at which the integral from `time` on, which is in the segment, is `area`.
    ///
    /// # Errors
    ///
    /// Returns the rest of the area if the segment ends before.
    pub(crate) fn time_after(&self, time: f64, area: f64) -> Result<f64, f64> {
        if self.is_flat() {
            // Not by the integral from the start of the segment: a sum of many small numbers would not be exact there.
            let rest = if self.from > 0.0 { (self.end() - time) * self.from } else { 0.0 };
            return if area < rest { Ok(time + area / self.from) } else { Err(area - rest) };
        }
        let passed = self.area(time - self.start);
        let rest = self.whole_area() - passed;
        if area < rest { Ok(self.time_of_area(passed + area).max(time)) } else { Err(area - rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 for 10 s, a ramp to 6 in 4 s, a step to 1.
    fn profile() -> Profile {
        let change = |length, to, shape| Change { length, to, shape };
        let changes =
            [change(10.0, None, Shape::Ramp), change(4.0, Some(6.0), Shape::Ramp), change(5.0, Some(1.0), Shape::Step)];
        Profile::new(2.0, changes.into_iter())
    }

    #[test]
    fn the_area_is_that_of_rectangles_and_trapezoids() {
        let areas = [0.0, 10.0, 12.0, 14.0, 15.0, 100.0].map(|seconds| profile().area(seconds));
        assert_eq!(areas, [0.0, 20.0, 26.0, 36.0, 37.0, 122.0]);
    }

    #[test]
    fn the_peak_is_of_what_has_begun() {
        assert_eq!([1.0, 12.0, 14.0, 60.0].map(|seconds| profile().peak(seconds)), [2.0, 4.0, 6.0, 6.0]);
        let down = Change { length: 10.0, to: Some(0.0), shape: Shape::Ramp };
        assert_eq!(Profile::new(8.0, [down].into_iter()).peak(5.0), 8.0);
    }

    #[test]
    fn the_time_of_an_area_is_the_inverse_of_the_area() {
        let ramp = profile().segments()[1];
        assert_eq!([0.0, 6.0].map(|area| ramp.time_of_area(area)), [10.0, 12.0]);
        assert_eq!(ramp.time_after(12.0, 3.0), Ok(ramp.time_of_area(9.0)));
        assert_eq!(ramp.time_after(12.0, 10.0), Err(0.0), "the segment has 16, of which 6 have passed");
    }
}
