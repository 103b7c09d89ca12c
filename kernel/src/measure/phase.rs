//! The phases of a run: before the faults, each fault, between them, after them.

use super::{
    detection::HealthEvents,
    events::Events,
    expectation::Phase,
    extent::{Extent, gaps},
    fault::RecordedFault,
    recovery::{Baseline, CalmRequests, HOLD_US, Recovery},
    requests::Requests,
    span::Span,
};

/// A fault, its phase, and how the client got through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    pub(super) fault: RecordedFault,
    pub(super) span: Span,
    pub(super) baseline: Option<Baseline>,
    pub(super) recovery: Recovery,
    /// Time from the fault's start until the client detected it.
    pub(super) detected_us: Option<u64>,
}

/// The phases of a run. Those of faults may overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeline {
    pub(super) run: Span,
    /// The phase from 0 to the first fault, or the whole run if there is no fault; none if a fault begins at 0.
    pub(super) before: Option<Span>,
    /// The faults in order of their index.
    pub(super) episodes: Vec<Episode>,
    /// The times after a fault's phase and before that of a later one, ascending.
    pub(super) between: Vec<Span>,
    /// The phase from the end of the last fault's phase to the end of the run; none if there is no fault, or if the phase
    /// of one lasts until the end.
    pub(super) after: Option<Span>,
}

impl Timeline {
    /// Computes the phases of a run with these events and requests, to which load was offered until `load_end_us`.
    pub(super) fn compute(events: &Events, requests: &Requests, load_end_us: u64) -> Self {
        let whole = Span { start_us: 0, end_us: requests.end_us() };
        let episodes = episodes(events, requests, load_end_us);
        let first_us = episodes.iter().map(|episode| episode.span.start_us).min();
        let last_us = episodes.iter().map(|episode| episode.span.end_us).max();
        Self {
            run: whole,
            before: first_us.map_or(Some(whole), |end_us| (end_us > 0).then_some(Span { start_us: 0, end_us })),
            between: gaps(episodes.iter().map(|episode| episode.span)),
            episodes,
            after: last_us.filter(|at| *at < whole.end_us).map(|start_us| Span { start_us, ..whole }),
        }
    }

    /// Returns the whole run.
    pub(super) fn whole(&self) -> Extent {
        Extent::without_fault(vec![self.run], self.run.end_us)
    }

    /// Returns the phases in the order of reports: `before`, the faults by index, `between`, `after`.
    pub(super) fn phases(&self) -> Vec<(Phase, Extent)> {
        let run_end_us = self.run.end_us;
        let calm =
            |phase, spans: Vec<Span>| (!spans.is_empty()).then(|| (phase, Extent::without_fault(spans, run_end_us)));
        let faults = self.episodes.iter();
        let faults =
            faults.map(|episode| (Phase::Fault(episode.fault.index), Extent::of_fault(episode.span, run_end_us)));
        calm(Phase::Before, self.before.into_iter().collect())
            .into_iter()
            .chain(faults)
            .chain(calm(Phase::Between, self.between.clone()))
            .chain(calm(Phase::After, self.after.into_iter().collect()))
            .collect()
    }
}

fn episodes(events: &Events, requests: &Requests, load_end_us: u64) -> Vec<Episode> {
    let mut faults = events.faults.clone();
    // In order of their start, since the baseline of a fault leaves out the phases of the earlier ones.
    faults.sort_by_key(|fault| (fault.start_us, fault.index));
    let mut calm = CalmRequests::new(requests.all());
    let episode = |fault: RecordedFault| {
        let episode = episode(calm.baseline_before(fault.start_us), fault, requests, &events.health, load_end_us);
        calm.leave_out(episode.span);
        episode
    };
    let mut episodes: Vec<_> = faults.into_iter().map(episode).collect();
    episodes.sort_by_key(|episode| episode.fault.index);
    episodes
}

fn episode(
    baseline: Option<Baseline>,
    fault: RecordedFault,
    requests: &Requests,
    health: &HealthEvents,
    load_end_us: u64,
) -> Episode {
    let recovery = Recovery::measure(&fault, baseline.as_ref(), requests, load_end_us);
    let span = span(&fault, recovery, requests.end_us());
    let detected_us = health.time_to_detect(&fault, span, requests.end_us());
    Episode { fault, span, baseline, recovery, detected_us }
}

/// Returns the phase of a fault, cut to the run.
///
/// It lasts from the fault's start until the fault is lifted and the client has recovered. A fault that is never lifted,
/// or that the client never recovers from, lasts until the run ends; if recovery cannot be determined, until it is
/// lifted. A phase lasts for 3 s at least, the time in which a recovery can be seen, so that a fault which is over at once
/// has requests to show.
fn span(fault: &RecordedFault, recovery: Recovery, run_end_us: u64) -> Span {
    let recovered_us = match recovery {
        Recovery::Unknown => Some(fault.start_us),
        Recovery::Never => None,
        Recovery::After(us) => Some(fault.start_us + us),
    };
    let over_us = fault.lifted_us.zip(recovered_us).map(|(lifted_us, recovered_us)| lifted_us.max(recovered_us));
    let start_us = fault.start_us.min(run_end_us);
    let end_us = over_us.unwrap_or(run_end_us).max(start_us.saturating_add(HOLD_US));
    Span { start_us, end_us: end_us.min(run_end_us) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{Sample, failed, fault_end, fault_start, healthy, ok, unhealthy};

    const S: u64 = 1_000_000;

    fn span(start_s: u64, end_s: u64) -> Span {
        Span { start_us: start_s * S, end_us: end_s * S }
    }

    /// Returns a request a second, good for `.` and failed for `x`.
    fn seconds(what: &str) -> Sample {
        let rows = what.chars().zip(0..).map(|(c, at)| if c == '.' { ok(at * S, 10) } else { failed(at * S, 10) });
        Sample::of_seconds(what.len() as u64).requests(rows)
    }

    fn timeline(sample: &Sample) -> Timeline {
        let run = sample.run();
        Timeline::compute(&Events::collect(run.rows), &Requests::sorted(&run), run.duration_us())
    }

    fn spans(timeline: &Timeline) -> Vec<Span> {
        timeline.episodes.iter().map(|episode| episode.span).collect()
    }

    #[test]
    fn without_faults_the_whole_run_is_before() {
        let timeline = timeline(&seconds("..x.."));
        assert_eq!((timeline.before, timeline.after), (Some(span(0, 5)), None));
    }

    #[test]
    fn a_fault_lasts_until_it_is_lifted_and_the_client_recovered() {
        // Begun at 3 s and lifted at 4 s; bad until 6 s, so recovered at 6 s and `after` from there.
        let slow = timeline(
            &seconds("...xxx....")
                .events([fault_start(0, "crash", "server-0", 3 * S), fault_end(0, "server-0", 4 * S)]),
        );
        assert_eq!((slow.before, spans(&slow), slow.after), (Some(span(0, 3)), vec![span(3, 6)], Some(span(6, 10))));
        // Recovered at 4 s and lifted at 8 s.
        let long = timeline(
            &seconds("...x......")
                .events([fault_start(0, "delay", "server-0", 3 * S), fault_end(0, "server-0", 8 * S)]),
        );
        assert_eq!((spans(&long), long.after), (vec![span(3, 8)], Some(span(8, 10))));
    }

    #[test]
    fn a_fault_that_is_over_at_once_still_has_three_seconds_of_the_run() {
        let crash = |at_s| [fault_start(0, "crash", "server-0", at_s * S), fault_end(0, "server-0", at_s * S)];
        let unfelt = timeline(&seconds("..........").events(crash(3)));
        assert_eq!((spans(&unfelt), unfelt.after), (vec![span(3, 6)], Some(span(6, 10))));
        assert_eq!(unfelt.episodes[0].recovery, Recovery::After(0));
        let late = timeline(&seconds("..........").events(crash(8)));
        assert_eq!((spans(&late), late.after), (vec![span(8, 10)], None));
    }

    #[test]
    fn a_fault_never_lifted_or_never_recovered_from_lasts_until_the_run_ends() {
        let never_lifted = timeline(&seconds("...x......").events([fault_start(0, "delay", "server-0", 3 * S)]));
        assert_eq!((spans(&never_lifted), never_lifted.after), (vec![span(3, 10)], None));
        assert_eq!(never_lifted.episodes[0].recovery, Recovery::After(S));
        let never_recovered = timeline(
            &seconds("...xxxxxxx")
                .events([fault_start(0, "crash", "server-0", 3 * S), fault_end(0, "server-0", 4 * S)]),
        );
        assert_eq!((spans(&never_recovered), never_recovered.after), (vec![span(3, 10)], None));
        assert_eq!(never_recovered.episodes[0].recovery, Recovery::Never);
    }

    #[test]
    fn a_fault_at_0_has_no_baseline_and_lasts_until_it_is_lifted() {
        let timeline = timeline(
            &seconds("xxxxxxxxxx").events([fault_start(0, "crash", "server-0", 0), fault_end(0, "server-0", 4 * S)]),
        );
        assert_eq!(timeline.before, None);
        assert_eq!((spans(&timeline), timeline.after), (vec![span(0, 4)], Some(span(4, 10))));
        assert_eq!((timeline.episodes[0].baseline, timeline.episodes[0].recovery), (None, Recovery::Unknown));
    }

    #[test]
    fn a_baseline_leaves_out_the_phases_of_earlier_faults() {
        // Fault 1 comes first in time, 2 s to 5 s with 3 failures; fault 0 at 8 s compares with seconds 0, 1, 5, 6, 7.
        let timeline = timeline(&seconds("..xxx...xxx...").events([
            fault_start(0, "crash", "server-0", 8 * S),
            fault_end(0, "server-0", 9 * S),
            fault_start(1, "crash", "server-1", 2 * S),
            fault_end(1, "server-1", 3 * S),
        ]));
        assert_eq!(spans(&timeline), [span(8, 11), span(2, 5)]);
        let compared = timeline.episodes[0].baseline.map(|baseline| (baseline.requests, baseline.successes));
        assert_eq!(compared, Some((5, 5)));
        assert_eq!(timeline.after, Some(span(11, 14)));
    }

    /// Compared with each other, so many faults would take minutes.
    #[test]
    fn a_hundred_thousand_faults_are_measured_one_by_one() {
        let count: usize = 100_000;
        let faults = (0..count).flat_map(|index| {
            let at_us = 2 * S + index as u64 * 50;
            let server = format!("server-{}", index % 2);
            [
                fault_start(index, "crash", &server, at_us),
                fault_end(index, &server, at_us + 10),
                unhealthy(&server, at_us + 20),
                healthy(&server, at_us + 30),
            ]
        });
        let timeline = timeline(&seconds("..........").events(faults));
        assert_eq!(timeline.episodes.len(), count);
        let last = &timeline.episodes[count - 1];
        assert_eq!((last.span, last.detected_us), (Span { start_us: 7 * S - 50, end_us: 10 * S - 50 }, Some(20)));
        assert_eq!(last.baseline.map(|baseline| baseline.requests), Some(2));
    }

    #[test]
    fn overlapping_faults_overlap_in_their_phases_too() {
        // Fault 0 from 3 s, fault 1 from 4 s, bad until 6 s: both recover at 6 s, with seconds 0 to 2 as the baseline.
        let timeline = timeline(&seconds("...xxx....").events([
            fault_start(0, "crash", "server-0", 3 * S),
            fault_end(0, "server-0", 5 * S),
            fault_start(1, "freeze", "server-1", 4 * S),
            fault_end(1, "server-1", 8 * S),
        ]));
        assert_eq!(spans(&timeline), [span(3, 6), span(4, 8)]);
        assert_eq!(timeline.episodes[1].baseline.map(|baseline| baseline.requests), Some(3));
        assert_eq!((timeline.before, timeline.after), (Some(span(0, 3)), Some(span(8, 10))));
    }
}
