//! Random faults, and settings by which they are drawn.

use std::time::Duration;

use kernel::scenario::{Direction, Fault, FaultGenerator, FaultKind, Servers, limits};
use proptest::{option, prelude::*, sample::subsequence};

use super::value::{bandwidth, code, from};

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Both), Just(Direction::To), Just(Direction::From)]
}

/// Of the connections, but not none of them.
fn share() -> impl Strategy<Value = Option<f64>> {
    option::of(limits::SHARE_SOME)
}

/// With a rate or in bursts.
fn loss() -> impl Strategy<Value = FaultKind> {
    let rate = (0.0..=1.0).prop_map(|rate| (Some(rate), None, None, None, None));
    let losses = || option::of(0.0..=1.0);
    let bursts = (limits::SHARE_SOME, limits::SHARE_SOME, losses(), losses())
        .prop_map(|(enter, exit, within, outside)| (None, Some(enter), Some(exit), within, outside));
    let losses = prop_oneof![rate, bursts];
    (losses, option::of(from(1)), option::of(direction()), share()).prop_map(
        |((rate, enter_burst, exit_burst, loss_in_burst, loss_outside), duration, direction, share)| FaultKind::Loss {
            rate,
            duration,
            direction,
            share,
            enter_burst,
            exit_burst,
            loss_in_burst,
            loss_outside,
        },
    )
}

/// Of `servers`, whose `restart_after` a crash without one of its own has.
pub(super) fn fault(servers: &Servers, end: Duration) -> impl Strategy<Value = Fault> + use<> {
    let restart = servers.restart_after;
    let duration = || option::of(from(1));
    let kind = prop_oneof![
        option::of(from(0)).prop_map(move |own| FaultKind::Crash { restart_after: own.or(restart) }),
        (from(0), from(0)).prop_map(|(one, other)| FaultKind::Drain {
            grace: Some(one.min(other)),
            restart_after: Some(one.max(other)),
        }),
        duration().prop_map(|duration| FaultKind::Freeze { duration }),
        (from(0), from(0), duration(), option::of(direction()), share()).prop_map(
            |(latency, jitter, duration, direction, share)| FaultKind::Delay {
                latency,
                jitter,
                duration,
                direction,
                share
            }
        ),
        (direction(), duration(), share()).prop_map(|(direction, duration, share)| FaultKind::Partition {
            direction,
            duration,
            share
        }),
        (duration(), share()).prop_map(|(duration, share)| FaultKind::HalfOpen { duration, share }),
        loss(),
        (bandwidth(), duration(), option::of(direction()), share()).prop_map(|(rate, duration, direction, share)| {
            FaultKind::Bandwidth { rate, duration, direction, share }
        }),
        (duration(), share()).prop_map(|(duration, share)| FaultKind::Reset { duration, share }),
        (0.0..=1.0, code(), duration()).prop_map(|(rate, status, duration)| FaultKind::Errors {
            rate,
            status: Some(status),
            duration,
            delay: None,
        }),
        (0.0..=1.0, prop::option::of(code()), duration(), from(0)).prop_map(|(rate, status, duration, delay)| {
            FaultKind::Errors { rate, status, duration, delay: Some(delay) }
        }),
        (1.0..=10_000.0, duration()).prop_map(|(factor, duration)| FaultKind::Slow { factor, duration }),
        duration().prop_map(|duration| FaultKind::CertificateExpired { duration }),
        duration().prop_map(|duration| FaultKind::CertificateUntrusted { duration }),
    ];
    let everyone: Vec<_> = (0..servers.replicas).collect();
    let at = (0.0..=1.0).prop_map(move |share| end.mul_f64(share).min(end));
    (at, subsequence(everyone, 1..=servers.replicas), kind).prop_map(|(at, targets, kind)| Fault {
        at,
        targets,
        kind,
        caller: None,
    })
}

pub(super) fn generator() -> impl Strategy<Value = FaultGenerator> {
    let FaultGenerator { kinds, targets, .. } = FaultGenerator::default();
    let lists = (subsequence(kinds, 1..=9).prop_shuffle(), subsequence(targets, 1..=4).prop_shuffle());
    let faults = [1..=64_usize, 1..=64_usize];
    (lists, faults, (from(1), option::of(from(1))), (any::<[bool; 3]>(), option::of(any::<bool>()))).prop_map(
        |((kinds, targets), [a, b], (low, high), ([overlap, swarm, ties], variants))| FaultGenerator {
            kinds,
            targets,
            faults_min: a.min(b),
            faults_max: a.max(b),
            duration_min: high.map_or(low, |high| low.min(high)),
            duration_max: high.map(|high| low.max(high)),
            overlap,
            swarm,
            ties,
            variants,
            store: None,
        },
    )
}
