//! The series of all metrics: a value for each combination of labels.

use super::{
    family::{Family, Kind, Unit},
    histogram::Distribution,
};
use crate::record::Name;

/// Microseconds in a second.
const US_PER_SECOND: u64 = 1_000_000;

/// The value of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// That of a counter.
    Count(u64),
    /// That of a gauge.
    Level(i64),
    /// That of a histogram.
    Distribution(Distribution),
}

/// The series of all metrics, each with its present value.
///
/// A series is found by labels that are borrowed, and shares their texts: only the first value of a series allocates memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series(Vec<OfFamily>);

/// The series of a family, by their labels. There are few, and each row changes several: a search of a list is the fastest.
type OfFamily = Vec<(Box<[Name]>, Value)>;

impl Default for Series {
    fn default() -> Self {
        Self(vec![OfFamily::new(); Family::ALL.len()])
    }
}

impl Series {
    /// Returns the series of `family`: the values of their labels and their own, in the order of the labels.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = (&[Name], &Value)> {
        self.0[family as usize].iter().map(|(labels, value)| (&**labels, value))
    }

    /// Returns the value of one series, if there is one.
    pub fn value(&self, family: Family, labels: &[&str]) -> Option<&Value> {
        self.of_family(family)
            .find(|(own, _)| own.iter().map(Name::as_str).eq(labels.iter().copied()))
            .map(|(_, value)| value)
    }

    /// Adds `more` to a counter.
    pub(super) fn add(&mut self, family: Family, labels: &[Name], more: u64) {
        if let Value::Count(count) = self.entry(family, labels) {
            *count += more;
        }
    }

    /// Sets a gauge.
    pub(super) fn set(&mut self, family: Family, labels: &[Name], level: i64) {
        if let Value::Level(own) = self.entry(family, labels) {
            *own = level;
        }
    }

    /// Changes a gauge.
    pub(super) fn change(&mut self, family: Family, labels: &[Name], by: i64) {
        if let Value::Level(own) = self.entry(family, labels) {
            *own += by;
        }
    }

    /// Adds a value to a histogram, in microseconds if its unit are seconds.
    pub(super) fn observe(&mut self, family: Family, labels: &[Name], value: u64) {
        let (Kind::Histogram(bounds), unit) = (family.kind(), family.unit()) else { return };
        if let Value::Distribution(distribution) = self.entry(family, labels) {
            distribution.add(bounds, value, per_one(unit));
        }
    }

    /// Adds all values of `more` to a histogram.
    pub(super) fn merge(&mut self, family: Family, labels: &[Name], more: &Distribution) {
        if let Value::Distribution(distribution) = self.entry(family, labels) {
            distribution.merge(more);
        }
    }

    fn entry(&mut self, family: Family, labels: &[Name]) -> &mut Value {
        let lacks = family.labels().len().checked_sub(labels.len());
        debug_assert!(lacks.is_some_and(|lacks| lacks <= family.may_lack_last_label().into()), "{}", family.name());
        let series = &mut self.0[family as usize];
        let place = series.binary_search_by(|(own, _)| (**own).cmp(labels)).unwrap_or_else(|place| {
            series.insert(place, (labels.into(), Value::zero(family)));
            place
        });
        &mut series[place].1
    }
}

impl Value {
    /// Returns the value of a series before anything has happened.
    pub(super) fn zero(family: Family) -> Self {
        match family.kind() {
            Kind::Counter => Self::Count(0),
            Kind::Gauge => Self::Level(0),
            Kind::Histogram(bounds) => Self::Distribution(Distribution::new(bounds)),
        }
    }
}

/// Returns the number by which kept values are divided to get the exported ones.
pub(super) fn per_one(unit: Unit) -> u64 {
    match unit {
        Unit::None | Unit::Bytes => 1,
        Unit::Seconds => US_PER_SECOND,
    }
}
