//! The generator of random faults: its table `[nemesis]`, and the draw.
//!
//! Swarm testing (Groce and others, 2012): each run allows itself a random half of the kinds, and a pace of its own, so
//! that some are all crashes and others mix everything. How many servers a fault hits is drawn by Jepsen's names. What is
//! drawn is rounded to milliseconds and thousandths, as a file has it: it can be written down, and needs nothing random to
//! be played again.

use std::time::Duration;

use rand::Rng;

use super::{Affects, Direction, Fault, FaultKind, FaultName, STORE};
use crate::{
    entropy::{Entropy, branch::Branch, unit},
    scenario::Scenario,
    settings::{
        limits,
        named::named,
        problem::Problem,
        samples,
        table::TableReader,
        table_macro::{NOT_DRAWN, table},
    },
    status::Code,
};

table! {
    /// `[nemesis]`: faults that the seed draws, in addition to those of the file.
    FaultGenerator {
        /// Kinds of faults that may be drawn: any but `drain`, `half_open` and those of certificates by default.
        kinds: Vec<FaultName> = FaultName::drawn().collect(), "to draw no faults, leave the table out", NOT_DRAWN;
        /// Numbers of servers that one fault hits.
        targets: Vec<TargetCount> = <TargetCount as strum::VariantArray>::VARIANTS.to_vec(),
            "to draw any of them, leave the key out", NOT_DRAWN;
        /// The least number of faults in one run.
        faults_min: usize = 1, limits::FAULTS, NOT_DRAWN;
        /// The largest number of faults in one run.
        faults_max: usize = 6, limits::FAULTS, &["1", "6", "20", "64"];
        /// The shortest time of one fault; of a crash, until the restart.
        duration_min: Duration = Duration::from_millis(100), limits::DURATION, &["\"1ms\"", "\"100ms\""];
        /// The longest time of one fault; a third of the run unless given.
        duration_max: Option<Duration> = None, limits::DURATION, &["\"200ms\"", "\"2s\"", "\"30s\""];
        /// A fault may begin before the last one is over.
        overlap: bool = true, (), samples::FLAGS;
        /// Each run draws from a random half of the kinds, at a pace of its own.
        swarm: bool = true, (), NOT_DRAWN;
        /// Faults start and end at the instants of others, at 0 and at the end of the run, and hit the same servers, whatever
        /// `duration_min` and `duration_max` say.
        ties: bool = false, (), NOT_DRAWN;
        /// Faults vary in their further keys, too: faults of links apply one way or to a share of the connections, losses come in bursts,
        /// resets last, and a fault happens several times, up to `faults_max` in all.
        variants: Option<bool> = None, (), NOT_DRAWN;
        /// Faults of links hit the link to the store of the cache as well: one in three of them, in place of servers.
        store: Option<bool> = None, (), NOT_DRAWN;
    }
    settle = settle;
}

fn settle(generator: FaultGenerator, table: &TableReader<'_, '_>) -> Result<FaultGenerator, Problem> {
    let FaultGenerator { faults_min, mut faults_max, duration_min, duration_max, .. } = generator;
    // A file that gives one of the two need not care about the default of the other.
    if table.span("faults_max").is_none() {
        faults_max = faults_max.max(faults_min);
    }
    table.ordered(("faults_min", faults_min), ("faults_max", faults_max))?;
    if let Some(longest) = duration_max {
        table.ordered(("duration_min", duration_min), ("duration_max", longest))?;
    }
    Ok(FaultGenerator { faults_max, ..generator })
}

/// The number of servers that a fault hits, in Jepsen's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TargetCount {
    /// One server.
    One,
    /// Less than half of the servers, and at least one.
    Minority,
    /// More than half of the servers.
    Majority,
    /// All servers.
    All,
}

named!(TargetCount, "a number of targets");

impl TargetCount {
    fn among(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Minority => (replicas.saturating_sub(1) / 2).max(1),
            Self::Majority => replicas / 2 + 1,
            Self::All => replicas,
        }
    }
}

impl FaultGenerator {
    /// Draws the faults of a run of this duration with that many replicas, by their start. `scripted` are the faults that the
    /// run has in any case.
    pub(crate) fn draw(&self, run: Duration, replicas: usize, scripted: &[Fault], seed: u64) -> Vec<Fault> {
        let mut rng = Entropy::new(seed).stream("nemesis.menu");
        let mut kinds: Vec<FaultName> = self.kinds.iter().copied().filter(|_| unit(&mut rng) < 0.5).collect();
        if kinds.is_empty() {
            kinds.push(*any(&self.kinds, &mut rng));
        }
        // From half as long as usual to double.
        let mut pace = 2.0_f64.powf(2.0 * unit(&mut rng) - 1.0);
        // Drawn all the same, so that the faults of a seed do not depend on it.
        if !self.swarm {
            kinds.clone_from(&self.kinds);
            pace = 1.0;
        }
        let count = self.faults_min + below(self.faults_max - self.faults_min + 1, &mut rng);
        let mut faults: Vec<Fault> = (0..count).map(|_| self.fault(run, replicas, &kinds, pace, &mut rng)).collect();
        if self.ties {
            tie(&mut faults, scripted, run, &mut Entropy::new(seed).stream("nemesis.ties"));
        }
        if self.variants == Some(true) {
            self.vary(&mut faults, run, &mut Entropy::new(seed).stream("nemesis.variants"));
        }
        if self.store == Some(true) {
            hit_store(&mut faults, &mut Entropy::new(seed).stream("nemesis.store"));
        }
        faults.sort_by_key(|fault| fault.at);
        if self.overlap { faults } else { one_after_the_other(faults) }
    }

    /// Returns those of `faults` that have begun by `branch`, and as many others behind it as the run may have. Each magnitude of the time from
    /// the branch to a fault is as likely: what the run has come to at the branch may last for some milliseconds.
    pub(crate) fn redraw(&self, mut faults: Vec<Fault>, scenario: &Scenario, branch: &Branch, seed: u64) -> Vec<Fault> {
        let run = scenario.duration;
        faults.retain(|fault| fault.at <= branch.at);
        let room = self.faults_max.saturating_sub(faults.len());
        if room == 0 || branch.at >= run {
            return faults;
        }
        let seed = branch.seed_of_faults(seed);
        let later = self.draw(run, scenario.replicas(), &scenario.faults, seed);
        let rest = (run - branch.at).as_secs_f64();
        faults.extend(later.into_iter().take(room).map(|fault| {
            let share = (fault.at.as_secs_f64() / run.as_secs_f64() - FIRST_SHARE) / STARTS_SHARE;
            let behind = SOON * (rest / SOON).max(1.0).powf(share.clamp(0.0, 1.0));
            // Rounded up, as what begins at the branch has begun.
            let at = millis(branch.at.as_secs_f64() + behind) + Duration::from_millis(1);
            Fault { at: at.min(run), ..fault }
        }));
        faults.sort_by_key(|fault| fault.at);
        if self.overlap { faults } else { one_after_the_other(faults) }
    }

    /// Gives some of the faults keys that random faults do not have otherwise, and repeats some.
    fn vary(&self, faults: &mut Vec<Fault>, run: Duration, rng: &mut impl Rng) {
        for index in 0..faults.len() {
            let lasts = spread(self.duration_min.as_secs_f64(), self.longest(run).as_secs_f64(), rng);
            vary_kind(&mut faults[index].kind, millis(lasts).clamp(self.duration_min, self.longest(run)), rng);
            // Drawn all the same, so that the variants of the others do not depend on it.
            let times = below(4, rng);
            let gap = millis(spread(0.01, 1.0, rng)) + Duration::from_millis(1);
            let fault = faults[index].clone();
            let lasts = fault.kind.lasts().unwrap_or_default();
            let later =
                (1..=times as u32).map(|number| Fault { at: fault.at + (lasts + gap) * number, ..fault.clone() });
            let room = self.faults_max.saturating_sub(faults.len());
            faults.extend(later.take_while(|fault| fault.at <= run).take(room));
        }
    }

    fn longest(&self, run: Duration) -> Duration {
        self.duration_max.unwrap_or(run / 3).max(self.duration_min)
    }

    /// Draws a fault that begins after the first tenth of the run and before the last fifth.
    fn fault(&self, run: Duration, replicas: usize, kinds: &[FaultName], pace: f64, rng: &mut impl Rng) -> Fault {
        let kind = *any(kinds, rng);
        let at = millis(run.as_secs_f64() * (FIRST_SHARE + STARTS_SHARE * unit(rng))).min(run);
        let shortest = self.duration_min;
        let longest = self.longest(run);
        let lasts = spread(shortest.as_secs_f64(), longest.as_secs_f64(), rng) * pace;
        let lasts = millis(lasts).clamp(shortest, longest);
        let targets = targets(any(&self.targets, rng).among(replicas), replicas, rng);
        Fault { at, targets, kind: random_kind(kind, lasts, rng), caller: None }
    }
}

/// The part of a run before the first fault.
const FIRST_SHARE: f64 = 0.1;

/// The part of a run in which faults begin.
const STARTS_SHARE: f64 = 0.7;

/// The shortest time from a branch to a fault, in seconds.
const SOON: f64 = 0.001;

/// The length of the shortest phase of a fault, in which a recovery can be seen.
const PHASE_MIN: Duration = Duration::from_secs(3);

/// Odds that a fault of links hits the link to the store.
const STORE_ODDS: f64 = 1.0 / 3.0;

/// Makes some of the faults of links hit the link to the store.
fn hit_store(faults: &mut [Fault], rng: &mut impl Rng) {
    for fault in faults {
        // Drawn all the same, so that the targets of the others do not depend on it.
        if unit(rng) < STORE_ODDS && fault.kind.affects() == Affects::Link {
            fault.targets = vec![STORE];
        }
    }
}

/// Odds that an instant or the targets of a fault become those of another.
const TIE_ODDS: f64 = 0.7;

/// Moves most faults to the instants of others, of `scripted` ones too, and makes most of them end there.
fn tie(faults: &mut [Fault], scripted: &[Fault], run: Duration, rng: &mut impl Rng) {
    for index in 0..faults.len() {
        let others: Vec<Fault> = faults[..index].iter().chain(&faults[index + 1..]).chain(scripted).cloned().collect();
        let mut instants = vec![Duration::ZERO, run];
        for other in &others {
            let end = other.kind.lasts().map(|lasts| other.at + lasts);
            instants.extend([other.at, other.at + PHASE_MIN].into_iter().chain(end));
        }
        instants.retain(|instant| *instant <= run);
        let fault = &mut faults[index];
        if unit(rng) < TIE_ODDS {
            fault.at = *any(&instants, rng);
        }
        if unit(rng) < TIE_ODDS && !others.is_empty() {
            let targets = &any(&others, rng).targets;
            if !targets.contains(&STORE) {
                fault.targets.clone_from(targets);
            }
        }
        instants.retain(|instant| *instant > fault.at);
        if unit(rng) < TIE_ODDS {
            fault.kind.hold_for(tied_duration(fault, &instants, rng));
        }
    }
}

/// Draws the duration of a fault that ends at one of `ends`, which are later than its start, or as soon as it can.
fn tied_duration(fault: &Fault, ends: &[Duration], rng: &mut impl Rng) -> Duration {
    let is_short = unit(rng) < 0.3;
    if !is_short && !ends.is_empty() {
        return *any(ends, rng) - fault.at;
    }
    // Only a restart may take no time.
    match fault.kind {
        FaultKind::Crash { .. } | FaultKind::Drain { .. } => Duration::ZERO,
        _ => Duration::from_nanos(1),
    }
}

/// Shortens faults so that each ends before the next begins; of several that begin at once, the first is left.
fn one_after_the_other(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.dedup_by_key(|fault| fault.at);
    let ends: Vec<Duration> = faults.iter().skip(1).map(|fault| fault.at).collect();
    for (fault, end) in faults.iter_mut().zip(ends) {
        let room = end - fault.at;
        if fault.kind.lasts().is_some_and(|lasts| lasts > room) {
            fault.kind.hold_for(room);
        }
    }
    faults
}

fn targets(count: usize, replicas: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..replicas).collect();
    let mut targets: Vec<usize> = (0..count).map(|_| rest.swap_remove(below(rest.len(), rng))).collect();
    targets.sort_unstable();
    targets
}

fn random_kind(kind: FaultName, lasts: Duration, rng: &mut impl Rng) -> FaultKind {
    let duration = Some(lasts);
    match kind {
        FaultName::Crash => FaultKind::Crash { restart_after: duration },
        // Half of the time that the replica is away at most.
        FaultName::Drain => FaultKind::Drain { grace: Some(lasts.mul_f64(0.5 * unit(rng))), restart_after: duration },
        FaultName::Freeze => FaultKind::Freeze { duration },
        FaultName::Delay => {
            let latency = millis(spread(0.005, 3.0, rng));
            FaultKind::Delay {
                latency,
                jitter: millis(latency.as_secs_f64() * unit(rng)),
                duration,
                direction: None,
                share: None,
            }
        }
        FaultName::Partition => {
            let direction = *any(&[Direction::Both, Direction::To, Direction::From], rng);
            FaultKind::Partition { direction, duration, share: None }
        }
        FaultName::HalfOpen => FaultKind::HalfOpen { duration, share: None },
        FaultName::Loss => FaultKind::Loss {
            rate: Some(thousandths(spread(0.01, 0.8, rng))),
            duration,
            direction: None,
            share: None,
            enter_burst: None,
            exit_burst: None,
            loss_in_burst: None,
            loss_outside: None,
        },
        FaultName::Bandwidth => FaultKind::Bandwidth {
            rate: spread(64.0, 50_000.0, rng) as u64 * 1_000,
            duration,
            direction: None,
            share: None,
        },
        FaultName::Reset => FaultKind::Reset { duration: None, share: None },
        FaultName::Errors => {
            let status = *any(&[Code::Unavailable, Code::Internal, Code::ResourceExhausted], rng);
            FaultKind::Errors { rate: thousandths(spread(0.02, 1.0, rng)), status: Some(status), duration, delay: None }
        }
        FaultName::Slow => FaultKind::Slow { factor: thousandths(spread(1.5, 50.0, rng)), duration },
        FaultName::CertificateExpired => FaultKind::CertificateExpired { duration },
        FaultName::CertificateUntrusted => FaultKind::CertificateUntrusted { duration },
    }
}

/// Odds that a fault of links applies to one direction, to a share of the connections, that a loss is one in bursts, or that a reset lasts.
const VARIANT_ODDS: f64 = 0.5;

/// Gives a fault further keys, or not. A reset that lasts does so for `lasts`.
fn vary_kind(kind: &mut FaultKind, lasts: Duration, rng: &mut impl Rng) {
    let mut odds = || unit(rng) < VARIANT_ODDS;
    // All of them are drawn for every kind, so that the variant of one fault does not depend on the kinds of those before it.
    let [has_direction, has_share, is_further] = [odds(), odds(), odds()];
    let one_way = *any(&[Direction::To, Direction::From], rng);
    let some = thousandths(spread(0.05, 1.0, rng));
    let [enter, exit, in_burst, outside] = [(0.002, 0.5), (0.05, 1.0), (0.3, 1.0), (0.001, 0.1)]
        .map(|(low, high)| Some(thousandths(spread(low, high, rng))));
    if let Some(direction) = kind.direction_mut().filter(|_| has_direction) {
        *direction = Some(one_way);
    }
    if let Some(share) = kind.share_mut().filter(|_| has_share) {
        *share = Some(some);
    }
    match kind {
        FaultKind::Reset { duration, .. } if is_further => *duration = Some(lasts),
        FaultKind::Loss { rate, enter_burst, exit_burst, loss_in_burst, loss_outside, .. } if is_further => {
            *rate = None;
            *enter_burst = enter;
            *exit_burst = exit;
            *loss_in_burst = in_burst;
            *loss_outside = outside;
        }
        _ => {}
    }
}

/// Draws a number from `low` to `high`, each magnitude as likely.
fn spread(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    low * (high / low).powf(unit(rng))
}

fn below(bound: usize, rng: &mut impl Rng) -> usize {
    (unit(rng) * bound as f64) as usize
}

/// Draws one of `values`, which is not empty.
fn any<'a, T>(values: &'a [T], rng: &mut impl Rng) -> &'a T {
    &values[below(values.len(), rng)]
}

fn millis(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1e3).round() as u64)
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::Scenario;

    fn scenario(nemesis: &str) -> Scenario {
        let text = format!(
            "name = \"base\"\nduration = \"20s\"\n[servers]\nreplicas = 5\n[load]\nrate = 5\n\
             [[fault]]\nat = \"1s\"\nkind = \"reset\"\ntarget = \"*\"\n[nemesis]\n{nemesis}"
        );
        Scenario::parse("base.toml", &text, &[]).unwrap()
    }

    /// Returns the faults that 300 seeds draw, without the fault of the file.
    fn drawn(nemesis: &str) -> Vec<Vec<Fault>> {
        let scenario = scenario(nemesis);
        (0..300).map(|seed| scenario.explicit(seed).faults.split_off(1)).collect()
    }

    #[test]
    fn what_is_drawn_is_the_same_again_and_is_an_ordinary_file() {
        let scenario = scenario("");
        for seed in 0..300 {
            let explicit = scenario.explicit(seed);
            assert_eq!(explicit, scenario.explicit(seed));
            assert_eq!(explicit, explicit.explicit(seed + 1), "there is nothing left to draw");
            assert_eq!(explicit.faults[0], scenario.faults[0]);
            assert_eq!(Scenario::parse("drawn.toml", &explicit.to_toml(), &[]).unwrap(), explicit);
        }
    }

    #[test]
    fn every_kind_count_and_number_of_targets_is_drawn() {
        let drawn = drawn("");
        let faults = || drawn.iter().flatten();
        let kinds: BTreeSet<_> = faults().map(|fault| fault.kind.name()).collect();
        let targets: BTreeSet<_> = faults().map(|fault| fault.targets.len()).collect();
        let counts: BTreeSet<_> = drawn.iter().map(Vec::len).collect();
        assert_eq!(kinds.len(), FaultName::drawn().count());
        assert_eq!(targets, BTreeSet::from([1, 2, 3, 5]), "one, a minority, a majority, all");
        assert_eq!(counts, (1..=6).collect());
        let swarms = |faults: &&Vec<Fault>| faults.iter().all(|fault| fault.kind.name() == faults[0].kind.name());
        assert!(drawn.iter().filter(|faults| faults.len() > 3).any(|faults| swarms(&faults)));
    }

    #[test]
    fn the_table_bounds_what_is_drawn() {
        let bounded = drawn(
            "kinds = [\"freeze\", \"crash\"]\ntargets = [\"one\"]\nfaults_min = 2\nfaults_max = 3\n\
             duration_min = \"1s\"\nduration_max = \"2s\"\nswarm = false",
        );
        for fault in bounded.iter().flatten() {
            assert!(["freeze", "crash"].contains(&fault.kind.name()) && fault.targets.len() == 1, "{fault:?}");
            let lasts = fault.kind.lasts().unwrap();
            assert!((1_000..=2_000).contains(&lasts.as_millis()), "{fault:?}");
        }
        assert!(bounded.iter().all(|faults| (2..=3).contains(&faults.len())));
        let mixed =
            bounded.iter().filter(|faults| faults.iter().any(|fault| fault.kind.name() != faults[0].kind.name()));
        assert!(mixed.count() > 100, "without swarms each run draws from all kinds");
    }

    #[test]
    fn ties_are_drawn_at_instants_of_others_at_the_edges_and_with_the_shortest_durations() {
        let end = Duration::from_secs(20);
        let drawn = drawn("ties = true\nfaults_min = 3");
        let any_fault = |holds: &dyn Fn(&Fault) -> bool| drawn.iter().flatten().filter(|fault| holds(fault)).count();
        assert!(any_fault(&|fault| fault.at.is_zero()) > 30);
        assert!(any_fault(&|fault| fault.at == end) > 30);
        assert!(any_fault(&|fault| fault.kind.lasts() == Some(Duration::ZERO)) > 10);
        assert!(any_fault(&|fault| fault.kind.lasts() == Some(Duration::from_nanos(1))) > 10);
        // The fault of the file is at one second.
        assert!(any_fault(&|fault| fault.at == Duration::from_secs(1)) > 30);
        let meet = |faults: &&Vec<Fault>| faults.windows(2).any(|pair| pair[0].at == pair[1].at);
        assert!(drawn.iter().filter(meet).count() > 150);
        let plain = self::drawn("faults_min = 3");
        let kinds = |runs: &[Vec<Fault>]| -> Vec<usize> { runs.iter().map(Vec::len).collect() };
        assert_eq!(kinds(&drawn), kinds(&plain), "ties move the faults that are drawn without them");
        for faults in &drawn {
            assert!(faults.iter().all(|fault| fault.at <= end), "{faults:?}");
        }
    }

    #[test]
    fn variants_have_every_further_key_and_are_the_faults_that_are_drawn_without_them() {
        let kinds = "faults_min = 3\nkinds = [\"delay\", \"partition\", \"half_open\", \"loss\", \"bandwidth\", \"reset\", \"crash\"]";
        let varied = drawn(&format!("{kinds}\nvariants = true"));
        let texts: Vec<String> = varied.iter().flatten().map(ToString::to_string).collect();
        for [kind, key] in [
            ["delay", "direction"],
            ["delay", "share"],
            ["partition", "share"],
            ["half_open", "share"],
            ["loss", "direction"],
            ["loss", "share"],
            ["loss", "enter_burst"],
            ["bandwidth", "direction"],
            ["bandwidth", "share"],
            ["reset", "duration"],
            ["reset", "share"],
        ] {
            let has = |text: &&String| text.contains(&format!("\"{kind}\"")) && text.contains(&format!("{key} = "));
            let of_kind = texts.iter().filter(|text| text.contains(&format!("\"{kind}\""))).count();
            let count = texts.iter().filter(has).count();
            assert!(count * 4 > of_kind && count * 4 < of_kind * 3, "{kind} {key}: {count} of {of_kind}");
            assert!(count > 20, "{kind} {key}");
        }
        assert!(varied.iter().all(|faults| (3..=6).contains(&faults.len())));
        let plain = drawn(kinds);
        assert_eq!(drawn(&format!("{kinds}\nvariants = false")), plain);
        let more = varied.iter().zip(&plain).filter(|(varied, plain)| varied.len() > plain.len()).count();
        assert!(more > 100, "{more} runs have faults that are repeated");
        for (varied, plain) in varied.iter().zip(&plain) {
            let starts =
                |fault: &Fault| varied.iter().any(|other| (other.at, &other.targets) == (fault.at, &fault.targets));
            assert!(plain.iter().all(starts), "{varied:?} {plain:?}");
        }
    }

    #[test]
    fn variants_can_be_written_down() {
        let scenario = scenario("variants = true\nties = true\nfaults_max = 20");
        for seed in 0..300 {
            let explicit = scenario.explicit(seed);
            assert_eq!(Scenario::parse("drawn.toml", &explicit.to_toml(), &[]).unwrap(), explicit);
        }
    }

    #[test]
    fn without_overlap_a_fault_is_over_before_the_next_begins() {
        let ends = |fault: &Fault| fault.at + fault.kind.lasts().unwrap_or_default();
        let apart = |faults: &Vec<Fault>| faults.windows(2).all(|pair| ends(&pair[0]) <= pair[1].at);
        assert!(drawn("overlap = false\nfaults_min = 6").iter().all(apart));
        assert!(drawn("overlap = false\nfaults_min = 6\nfaults_max = 30\nvariants = true").iter().all(apart));
        assert!(!drawn("faults_min = 6").iter().all(apart));
    }
}
