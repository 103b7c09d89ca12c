//! What is said of a search for boundaries.

use super::{Crossing, Identity, Point, Scale, Side, Spacing, Tip};
use crate::measure::text::table::{Align, TextTable};

impl Tip {
    /// For people. Ends with a line break.
    pub fn render(&self) -> String {
        let table = if self.identity.and.is_some() { self.boundaries() } else { self.values() };
        let remarks: String = self.remarks().iter().map(|remark| format!("  {remark}\n")).collect();
        let replays: String =
            self.replays().iter().map(|(side, replay)| format!("  {}   {replay}\n", side.name())).collect();
        [self.verdict(), table.render(), remarks, replays].join("\n")
    }

    /// Where it tips, in a line.
    pub fn verdict(&self) -> String {
        let identity = &self.identity;
        let (along, what) = (&identity.along, identity.judged.what());
        let head = format!("TIPS  {} ({}):", identity.scenario, identity.world);
        if identity.and.is_some() {
            return format!("{head} where {what} holds and fails along {}\n", along.key);
        }
        let between = self.crossings.iter().filter_map(|crossing| Some((crossing.side, crossing.between()?)));
        let tips = between.enumerate().map(|(index, (side, (low, high)))| {
            let low = if index == 0 { along.setting(low) } else { along.text(low) };
            format!("{} with {low} and {} with {}", side.name(), (!side).name(), along.text(high))
        });
        format!("{head} {what} {}\n", tips.collect::<Vec<_>>().join(", "))
    }

    /// A line a value that was asked, in order.
    pub fn values(&self) -> TextTable {
        let (along, and) = (&self.identity.along, self.identity.and.as_ref());
        let mut columns: Vec<(&str, Align)> = and.map(|and| (&*and.key, Align::Right)).into_iter().collect();
        columns.extend([(&*along.key, Align::Right), ("runs", Align::Right), ("well", Align::Right)]);
        columns.extend([("95 % interval", Align::Right), ("", Align::Left)]);
        let mut table = TextTable::new(&columns);
        for point in self.points_in_order() {
            let (from, to) = point.ballot().interval();
            let interval = format!("{:.0} % to {:.0} %", from * 100.0, to * 100.0);
            let open = if point.decided { "" } else { ", open" };
            let other = and.zip(point.and).map(|(and, value)| and.text(value));
            let own = [along.text(point.along), point.runs.to_string(), point.passes.to_string(), interval];
            let side = format!("{}{open}", point.side.name());
            table.row(other.into_iter().chain(own).chain([side]).collect());
        }
        table
    }

    /// By the other setting, then along the first.
    pub fn points_in_order(&self) -> Vec<&Point> {
        let mut points: Vec<&Point> = self.points.iter().collect();
        points.sort_by(|left, right| {
            let others = left.and.unwrap_or(0.0).total_cmp(&right.and.unwrap_or(0.0));
            others.then(left.along.total_cmp(&right.along))
        });
        points
    }

    /// A line a value of the other setting; without one, one line.
    pub fn boundaries(&self) -> TextTable {
        let (along, and) = (&self.identity.along, self.identity.and.as_ref());
        let mut columns: Vec<(&str, Align)> = and.map(|and| (&*and.key, Align::Right)).into_iter().collect();
        columns.push((&*along.key, Align::Left));
        let mut table = TextTable::new(&columns);
        let tip = |Crossing { side, low, high, .. }: &Crossing| match low.zip(*high) {
            Some((low, high)) => {
                let (low, high) = (along.text(low), along.text(high));
                format!("{} with {low}, {} with {high}", side.name(), (!*side).name())
            }
            None => format!("{} with all", side.name()),
        };
        for of_one in self.crossings.chunk_by(|left, right| left.and == right.and) {
            let other = and.zip(of_one[0].and).map(|(and, value)| and.text(value));
            let tips: Vec<String> = of_one.iter().map(tip).collect();
            table.row(other.into_iter().chain([tips.join("; ")]).collect());
        }
        table
    }

    /// How sure all that is, and what is not seen, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let identity = &self.identity;
        let (rule, points) = (identity.rule, &self.points);
        let (runs, sure) = (points.iter().map(|point| point.runs).sum::<u64>(), identity.confidence * 100.0);
        let mut remarks = vec![format!(
            "{runs} runs of {} values, each until one side led by {}: {sure} % sure of all where runs go one way 3 times \
             of 4",
            points.len(),
            rule.lead
        )];
        match points.iter().filter(|point| !point.decided).count() {
            0 => {}
            open => {
                let values = if open == 1 { "value was" } else { "values were" };
                let runs = rule.runs_max;
                remarks.push(format!("{open} {values} still open after {runs} runs, and went to the majority"));
            }
        }
        remarks.extend(identity.unseen());
        remarks
    }

    /// Commands that play a run on each side of every boundary; of the first one found, if there are two settings.
    pub fn replays(&self) -> Vec<(Side, String)> {
        let boundaries = self.crossings.iter().filter_map(|crossing| Some((crossing.and, crossing.between()?)));
        let wanted = if self.identity.and.is_some() { 1 } else { usize::MAX };
        let of = |and, along| self.points.iter().find(|point| point.along == along && point.and == and);
        let sides = boundaries.take(wanted).flat_map(|(and, (low, high))| [of(and, low), of(and, high)]);
        sides.flatten().map(|point| (point.side, self.identity.replay(point))).collect()
    }
}

impl Identity {
    /// What the search would not have found; `None` where all values were asked.
    pub fn unseen(&self) -> Option<String> {
        let along = &self.along;
        let ladder = along.ladder();
        let asked: Vec<f64> = along.samples(self.samples).into_iter().map(|step| ladder.value(step)).collect();
        let widest = |gap: fn(&[f64]) -> f64| asked.windows(2).map(gap).fold(0.0, f64::max);
        let apart = widest(|pair| pair[1] - pair[0]);
        if along.scale == Scale::Whole && apart <= 1.0 {
            return None;
        }
        let apart = match along.spacing {
            Spacing::Linear => format!("up to {} apart", along.text(apart)),
            Spacing::Logarithmic => format!("apart by a factor of up to {:.2}", widest(|pair| pair[1] / pair[0])),
        };
        let (count, each) = (asked.len(), if self.and.is_some() { " each time" } else { "" });
        Some(format!(
            "{count} values were asked first{each}, {apart}: what tips and tips back between two of them is not \
             seen, and --samples asks more"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::folder::tests::tip, *};

    #[test]
    fn one_boundary_is_told_with_all_values() {
        insta::assert_snapshot!(tip(None).render());
    }

    #[test]
    fn boundaries_along_two_settings_are_told_by_the_second() {
        let mut tip = tip(Some("servers.workers=1..2"));
        tip.crossings[1] = Crossing { low: None, high: None, ..tip.crossings[1].clone() };
        insta::assert_snapshot!(tip.render());
    }

    #[test]
    fn every_boundary_is_told() {
        let mut tip = tip(None);
        tip.crossings.push(Crossing { and: None, low: Some(20.0), high: Some(21.0), side: Side::Fails });
        let wanted = "recovery holds with load.rate=12 and fails with 13, fails with 20 and holds with 21\n";
        assert!(tip.verdict().ends_with(wanted), "{}", tip.verdict());
        assert!(tip.boundaries().render().ends_with("holds with 12, fails with 13; fails with 20, holds with 21\n"));
    }

    #[test]
    fn what_is_not_seen_is_told_in_the_words_of_the_range() {
        let remark = |range: &str, samples, log: bool| {
            let mut tip = tip(None);
            tip.identity.along = range.parse().unwrap();
            if log {
                tip.identity.along = tip.identity.along.logarithmic().unwrap();
            }
            tip.identity.samples = samples;
            tip.remarks().pop().unwrap()
        };
        assert!(
            remark("load.rate=10..30", 6, false).starts_with("6 values were asked first, up to 4 apart: what tips")
        );
        assert!(remark("a=1s..9s", 9, false).contains(", up to 1s apart: "));
        assert!(remark("a=0.0..1.0", 5, false).contains(", up to 0.25 apart: "));
        assert!(remark("a=1.0..16.0", 5, true).contains(", apart by a factor of up to 2.00: "));
        // All of them: nothing is between.
        assert!(!remark("load.rate=10..30", 40, false).contains("asked first"));
    }
}
