//! The report of a threshold search: what it prints when it ends.

use super::{Boundary, Point, SettingRange, Spacing, TestOutcome, ThresholdIdentity, ThresholdRecord, ValueKind};
use crate::measure::text::table::{Align, TextTable};

impl ThresholdRecord {
    /// Returns the report for people. Ends with a line break.
    pub fn render(&self) -> String {
        let table = if self.identity.and.is_some() { self.boundary_table() } else { self.values() };
        let remarks: String = self.remarks().iter().map(|remark| format!("  {remark}\n")).collect();
        let replays: String =
            self.replays().iter().map(|(outcome, replay)| format!("  {}   {replay}\n", outcome.name())).collect();
        [self.verdict(), table.render(), remarks, replays].join("\n")
    }

    /// Returns the thresholds, in a line.
    pub fn verdict(&self) -> String {
        let identity = &self.identity;
        let along = &identity.along;
        let what = identity.criterion.what();
        let head = format!("TIPS  {} ({}):", identity.scenario, identity.world);
        if identity.and.is_some() {
            return format!("{head} where {what} holds and fails along {}\n", along.key);
        }
        let mut thresholds = Vec::new();
        for boundary in &self.boundaries {
            let Some((low, high)) = boundary.between() else { continue };
            // The key once is enough.
            let low = if thresholds.is_empty() { along.setting(low) } else { along.text(low) };
            let outcome = boundary.outcome;
            thresholds.push(format!(
                "{} with {low} and {} with {}",
                outcome.name(),
                (!outcome).name(),
                along.text(high)
            ));
        }
        format!("{head} {what} {}\n", thresholds.join(", "))
    }

    /// Returns the values that were tested, a line for each, by the second setting, then along the first.
    pub fn values(&self) -> TextTable {
        let along = &self.identity.along;
        let and = self.identity.and.as_ref();
        let mut columns: Vec<(&str, Align)> = and.map(|and| (&*and.key, Align::Right)).into_iter().collect();
        columns.extend([(&*along.key, Align::Right), ("runs", Align::Right), ("well", Align::Right)]);
        columns.extend([("95 % interval", Align::Right), ("", Align::Left)]);
        let mut table = TextTable::new(&columns);
        for point in self.points_in_order() {
            let (from, to) = point.test().interval();
            let interval = format!("{:.0} % to {:.0} %", from * 100.0, to * 100.0);
            let open = if point.decided { "" } else { ", open" };
            let second = and.zip(point.and).map(|(and, value)| and.text(value));
            let own = [along.text(point.along), point.runs.to_string(), point.passes.to_string(), interval];
            let outcome = format!("{}{open}", point.outcome.name());
            table.row(second.into_iter().chain(own).chain([outcome]).collect());
        }
        table
    }

    /// Returns the points by the second setting, then along the first.
    pub fn points_in_order(&self) -> Vec<&Point> {
        let mut points: Vec<&Point> = self.points.iter().collect();
        points.sort_by(|left, right| {
            let second = left.and.unwrap_or(0.0).total_cmp(&right.and.unwrap_or(0.0));
            second.then(left.along.total_cmp(&right.along))
        });
        points
    }

    /// Returns the boundaries, a line for each value of the second setting; one line if there is none.
    pub fn boundary_table(&self) -> TextTable {
        let along = &self.identity.along;
        let and = self.identity.and.as_ref();
        let mut columns: Vec<(&str, Align)> = and.map(|and| (&*and.key, Align::Right)).into_iter().collect();
        columns.push((&*along.key, Align::Left));
        let mut table = TextTable::new(&columns);
        for boundaries in self.boundaries.chunk_by(|left, right| left.and == right.and) {
            let second = and.zip(boundaries[0].and).map(|(and, value)| and.text(value));
            let texts: Vec<String> = boundaries.iter().map(|boundary| boundary_text(boundary, along)).collect();
            table.row(second.into_iter().chain([texts.join("; ")]).collect());
        }
        table
    }

    /// Remarks on the confidence of the results and on what the search cannot see, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let identity = &self.identity;
        let rule = identity.rule;
        let runs = self.points.iter().map(|point| point.runs).sum::<u64>();
        let sure = identity.confidence * 100.0;
        let mut remarks = vec![format!(
            "{runs} runs of {} values, each until one side led by {}: {sure} % sure of all where runs go one way 3 times \
             of 4",
            self.points.len(),
            rule.lead
        )];
        match self.points.iter().filter(|point| !point.decided).count() {
            0 => {}
            open => {
                let values = if open == 1 { "value was" } else { "values were" };
                let runs = rule.runs_max;
                remarks.push(format!("{open} {values} still open after {runs} runs, and went to the majority"));
            }
        }
        let stopped: Vec<_> = self.points_in_order().into_iter().filter_map(|point| point.stopped.as_ref()).collect();
        if let Some(first) = stopped.first() {
            let values = if stopped.len() == 1 { "value has" } else { "values have" };
            remarks.push(format!(
                "{} {values} runs that were stopped before their end and count as failed: {first}",
                stopped.len()
            ));
        }
        remarks.extend(identity.unseen());
        remarks
    }

    /// Commands that repeat a run on each side of every boundary; of the first boundary only if there are two settings.
    pub fn replays(&self) -> Vec<(TestOutcome, String)> {
        let boundaries = self.boundaries.iter().filter_map(|boundary| Some((boundary.and, boundary.between()?)));
        let wanted = if self.identity.and.is_some() { 1 } else { usize::MAX };
        let neighbours = boundaries.take(wanted).flat_map(|(and, (low, high))| [(and, low), (and, high)]);
        let points = neighbours.filter_map(|(and, along)| self.point(along, and));
        points.map(|point| (point.outcome, self.identity.replay(point))).collect()
    }

    fn point(&self, along: f64, and: Option<f64>) -> Option<&Point> {
        self.points.iter().find(|point| point.along == along && point.and == and)
    }
}

/// Returns the text of a boundary along `along`.
fn boundary_text(boundary: &Boundary, along: &SettingRange) -> String {
    let outcome = boundary.outcome;
    match boundary.between() {
        Some((low, high)) => {
            format!("{} with {}, {} with {}", outcome.name(), along.text(low), (!outcome).name(), along.text(high))
        }
        None => format!("{} with all", outcome.name()),
    }
}

impl ThresholdIdentity {
    /// Returns the remark on what the search cannot see; `None` if it tests all values.
    pub fn unseen(&self) -> Option<String> {
        let along = &self.along;
        let grid = along.grid();
        let tested: Vec<f64> = along.samples(self.samples).into_iter().map(|step| grid.value(step)).collect();
        let apart = widest(&tested, |low, high| high - low);
        if along.kind == ValueKind::Whole && apart <= 1.0 {
            return None;
        }
        let apart = match along.spacing {
            Spacing::Linear => format!("up to {} apart", along.text(apart)),
            Spacing::Logarithmic => {
                format!("apart by a factor of up to {:.2}", widest(&tested, |low, high| high / low))
            }
        };
        let count = tested.len();
        let each = if self.and.is_some() { " each time" } else { "" };
        Some(format!(
            "{count} values were asked first{each}, {apart}: what tips and tips back between two of them is not \
             seen, and --samples asks more"
        ))
    }
}

/// Returns the greatest `gap` between two neighbours of `values`.
fn widest(values: &[f64], gap: impl Fn(f64, f64) -> f64) -> f64 {
    values.windows(2).map(|pair| gap(pair[0], pair[1])).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::{super::sample::record, *};

    /// Returns the last remark on a search with `samples` first values of `range`.
    fn remark(range: &str, samples: u64, logarithmic: bool) -> String {
        let mut record = record(None);
        record.identity.along = range.parse().unwrap();
        if logarithmic {
            record.identity.along = record.identity.along.logarithmic().unwrap();
        }
        record.identity.samples = samples;
        record.remarks().pop().unwrap()
    }

    #[test]
    fn one_boundary_is_reported_with_all_values() {
        insta::assert_snapshot!(record(None).render());
    }

    #[test]
    fn boundaries_along_two_settings_are_reported_by_the_second() {
        let mut record = record(Some("servers.workers=1..2"));
        record.boundaries[1] = Boundary { low: None, high: None, ..record.boundaries[1].clone() };
        insta::assert_snapshot!(record.render());
    }

    #[test]
    fn every_boundary_is_reported() {
        let mut record = record(None);
        record.boundaries.push(Boundary { and: None, low: Some(20.0), high: Some(21.0), outcome: TestOutcome::Fails });
        let wanted = "recovery holds with load.rate=12 and fails with 13, fails with 20 and holds with 21\n";
        assert!(record.verdict().ends_with(wanted), "{}", record.verdict());
        assert!(
            record.boundary_table().render().ends_with("holds with 12, fails with 13; fails with 20, holds with 21\n")
        );
    }

    #[test]
    fn the_remark_on_gaps_has_the_unit_of_the_range() {
        assert!(
            remark("load.rate=10..30", 6, false).starts_with("6 values were asked first, up to 4 apart: what tips")
        );
        assert!(remark("a=1s..9s", 9, false).contains(", up to 1s apart: "));
        assert!(remark("a=0.0..1.0", 5, false).contains(", up to 0.25 apart: "));
        assert!(remark("a=1.0..16.0", 5, true).contains(", apart by a factor of up to 2.00: "));
        // All values of the range: no gap is left.
        assert!(!remark("load.rate=10..30", 40, false).contains("asked first"));
    }
}
