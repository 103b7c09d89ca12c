//! The faults of a scenario: at most three, each of which ends five seconds before the run does, so that a recovery is measured.

use kernel::{
    dice::{Dice, two_digits},
    scenario::FaultName,
};

use super::{dice_of, policies::time, strata::Strata, work::Load};

/// Time before the first fault, and after the last one, in seconds.
pub(super) const QUIET_S: f64 = 5.0;

/// A fault, as the keys of its table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DrawnFault {
    pub(super) keys: Vec<String>,
}

/// Draws the faults of a scenario, in the order of their starts.
pub(super) fn draw(strata: &Strata, load: &Load, seed: u64) -> Vec<DrawnFault> {
    let count = strata.faults.len() as f64;
    let end = strata.seconds as f64 - QUIET_S;
    let slot = (end - QUIET_S) / count;
    let numbered = strata.faults.iter().enumerate();
    let faults = numbered.map(|(number, kind)| {
        let mut dice = dice_of(seed, "fault", &[strata.index, number as u64]);
        let begin = QUIET_S + slot * number as f64;
        let at = begin + dice.between(0.0, slot / 3.0);
        // Most are over before the next one begins; some last into it.
        let latest = if dice.odds(0.25) { end } else { begin + slot };
        let lasts = dice.spread(0.5, 6.0).min(latest - at - 0.001);
        let mut keys = vec![format!("at = {}", time(at)), format!("kind = \"{}\"", kind.name())];
        keys.push(format!("target = {}", target(*kind, strata.replicas, &mut dice)));
        keys.extend(more_keys(*kind, lasts, strata, load, &mut dice));
        DrawnFault { keys }
    });
    faults.collect()
}

/// Draws a server, or a part of them; of links also all.
fn target(kind: FaultName, replicas: usize, dice: &mut Dice) -> String {
    let order = dice.order(replicas);
    let is_link =
        !matches!(kind, FaultName::Crash | FaultName::Drain | FaultName::Freeze | FaultName::Errors | FaultName::Slow);
    let [all, two] = [dice.odds(0.25), dice.odds(0.4)];
    if is_link && all {
        return "\"*\"".to_owned();
    }
    match order.as_slice() {
        [one, other, _, ..] if two => {
            format!("[\"server-{}\", \"server-{}\"]", one.min(other), one.max(other))
        }
        [one, ..] => format!("\"server-{one}\""),
        [] => String::new(),
    }
}

/// Draws the keys of the kind, for a fault that lasts so many seconds.
fn more_keys(kind: FaultName, lasts: f64, strata: &Strata, load: &Load, dice: &mut Dice) -> Vec<String> {
    let duration = format!("duration = {}", time(lasts));
    match kind {
        FaultName::Crash => vec![format!("restart_after = {}", time(lasts.min(4.0)))],
        FaultName::Drain => {
            let away = lasts.min(4.0);
            let grace = away * dice.between(0.2, 0.8);
            vec![format!("grace = {}", time(grace)), format!("restart_after = {}", time(away))]
        }
        FaultName::Freeze => vec![format!("duration = {}", time(lasts.min(4.0)))],
        FaultName::Delay => {
            let latency = dice.spread(0.005, 0.3);
            let jitter = latency * dice.between(0.0, 0.5);
            vec![format!("latency = {}", time(latency)), format!("jitter = {}", time(jitter)), duration]
        }
        FaultName::Partition => {
            vec![format!("direction = \"{}\"", dice.any(&["both", "to", "from"])), duration]
        }
        FaultName::HalfOpen | FaultName::CertificateExpired | FaultName::CertificateUntrusted => vec![duration],
        FaultName::Loss if dice.odds(0.5) => {
            let enter = two_digits(dice.spread(0.002, 0.02));
            vec![format!("enter_burst = {enter:?}"), "exit_burst = 0.2".to_owned(), duration]
        }
        FaultName::Loss => vec![format!("rate = {:?}", two_digits(dice.spread(0.005, 0.1))), duration],
        FaultName::Bandwidth => {
            // A link that is narrower than the load ends in nothing but timeouts.
            let bits = 8.0 * load.input.bytes() * load.rate / strata.servers_used() as f64;
            let kbit = two_digits((bits / 1e3 * dice.spread(1.3, 5.0)).max(64.0));
            vec![format!("rate = \"{kbit}kbit\""), duration]
        }
        FaultName::Reset if dice.odds(0.5) => vec![duration],
        FaultName::Reset => Vec::new(),
        FaultName::Errors => {
            let rate = two_digits(dice.spread(0.05, 0.6));
            let status = dice.any(&["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"]);
            vec![format!("rate = {rate:?}"), format!("status = \"{status}\""), duration]
        }
        FaultName::Slow => {
            let busy = load.rate * load.hold() / (strata.servers_used() * load.workers) as f64;
            let most = (0.9 / busy).clamp(1.5, 10.0);
            vec![format!("factor = {:?}", two_digits(dice.spread(1.5, most))), duration]
        }
    }
}
