//! Random scenarios.

use std::time::Duration;

use kernel::{
    export::family::LATENCY_BOUNDS_US,
    scenario::{
        AppTimes, Arrivals, Backend, Expectation, Fault, FaultGenerator, FaultName, GraphSize, Images, Load, Metric,
        Network, Phase, Pictures, ReadingNotes, RequestKind, Run, Scenario, Servers, Shape, Size, Slo, SloKind, Stage,
        ThinkTime, Tls, TlsMode, Unit, Workload, limits,
    },
    server::settings::{AdaptiveQueue, Admission},
};
use proptest::{collection::vec, option, prelude::*, strategy::Union};

use super::{
    client::client,
    fault::{fault, generator},
    value::{bandwidth, code, from},
};

fn servers() -> impl Strategy<Value = Servers> {
    let room = (1..=1_024_usize, 0..=1_000_000_usize).prop_flat_map(|(workers, queue)| {
        let admission = (option::of(1..=(workers + queue).min(1_000_000)), option::of(from(1)), option::of(from(0)))
            .prop_map(|(max_concurrent_requests, max_queue_time, retry_pushback)| Admission {
                max_concurrent_requests,
                max_queue_time,
                retry_pushback,
            });
        (Just((workers, queue)), option::of(admission))
    });
    let age = (option::of(from(1)), option::of(from(0)));
    let adaptive = (from(1), from(1), any::<bool>(), any::<bool>()).prop_map(|(one, other, drop_late, newest)| {
        let (interval, target) = (one.max(other), one.min(other));
        AdaptiveQueue { interval, target, drop_late, newest_first: newest || !drop_late }
    });
    (1..=64_usize, room, option::of(from(0)), from(0), (age, option::of(adaptive))).prop_map(
        |(replicas, ((workers, queue), admission), restart_after, service_time_min, (age, adaptive))| Servers {
            adaptive_queue: adaptive.filter(|_| admission.as_ref().is_none_or(|it| it.max_queue_time.is_none())),
            replicas,
            workers,
            queue,
            restart_after,
            service_time_min,
            max_connection_age: age.0,
            max_connection_age_grace: age.1,
            admission,
        },
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    let size = (1..=4_096_u32, 1..=4_096_u32).prop_map(|(width, height)| Size { width, height });
    let pictures =
        prop_oneof![vec(size, 1..5).prop_map(Pictures::Synthetic), any::<String>().prop_filter_map("empty", files)];
    let images = (pictures, option::of(1..=256_u32)).prop_map(|(pictures, tiles)| Images { pictures, tiles });
    let graph = (2..=1_000_000_u32)
        .prop_flat_map(|nodes| (Just(nodes), nodes - 1..=8_000_000))
        .prop_map(|(nodes, edges)| GraphSize { nodes, edges });
    let backend =
        (0.0..=0.5, code(), 0.0..=0.5, from(0)).prop_map(|(failure_rate, failure_status, hang_rate, delay)| Backend {
            failure_rate,
            failure_status,
            hang_rate,
            delay,
        });
    let app = option::of(from(0)).prop_map(|compute_time| Workload::App(AppTimes { compute_time }));
    prop_oneof![
        images.prop_map(Workload::Sobel),
        graph.prop_map(Workload::Dfs),
        backend.prop_map(Workload::Backend),
        app,
    ]
}

fn files(pattern: String) -> Option<Pictures> {
    (!pattern.is_empty()).then_some(Pictures::Files(pattern))
}

fn load() -> impl Strategy<Value = Load> {
    let arrivals = prop_oneof![Just(Arrivals::Constant), Just(Arrivals::Poisson)];
    (0.001..=1e6, arrivals, 1..=1_000_000_usize, vec(stage(), 0..4), option::of(users())).prop_map(
        |(rate, arrivals, max_in_flight, mut stage, users)| {
            if users.is_none() {
                stage.iter_mut().for_each(|stage| stage.users = None);
            }
            let load = Load { rate, arrivals, max_in_flight, stage, ..Load::default() };
            users.map_or(load.clone(), |(users, think_time, distribution)| Load {
                users: Some(users),
                think_time: Some(think_time),
                think_time_distribution: Some(distribution),
                ..load
            })
        },
    )
}

fn users() -> impl Strategy<Value = (usize, Duration, ThinkTime)> {
    let distribution = prop_oneof![Just(ThinkTime::Constant), Just(ThinkTime::Exponential)];
    (0..=20_000_usize, from(1_000_000), distribution)
}

/// Kinds of requests for a workload, some of which set what they may set.
fn kinds(workload: Workload) -> impl Strategy<Value = Vec<RequestKind>> {
    let kind = (0.001..=1e6, any::<bool>(), code(), from(0)).prop_map(move |(weight, sets, status, delay)| {
        let plain = RequestKind { weight, ..RequestKind::default() };
        match &workload {
            _ if !sets => plain,
            Workload::App(_) => plain,
            Workload::Sobel(_) => RequestKind { sizes: Some(vec![Size { width: 9, height: 8 }]), ..plain },
            Workload::Dfs(_) => RequestKind { nodes: Some(2), edges: Some(3), ..plain },
            Workload::Backend(_) => RequestKind {
                failure_rate: Some(0.25),
                failure_status: Some(status),
                hang_rate: Some(0.5),
                delay: Some(delay),
                ..plain
            },
        }
    });
    let named = |(index, kind)| RequestKind { name: format!("kind-{index}"), ..kind };
    vec(kind, 0..3).prop_map(move |kinds| kinds.into_iter().enumerate().map(named).collect())
}

fn stage() -> impl Strategy<Value = Stage> {
    let shape = prop_oneof![Just(Shape::Ramp), Just(Shape::Step)];
    let rate = prop_oneof![Just(0.0), 0.001..=200.0];
    (from(1), option::of(rate), option::of(0..=100_usize), shape).prop_map(|(duration, rate, users, shape)| Stage {
        duration,
        rate,
        users,
        shape,
    })
}

fn network() -> impl Strategy<Value = Network> {
    (from(0), from(0), option::of(bandwidth())).prop_map(|(latency, jitter, bandwidth)| Network {
        latency,
        jitter,
        bandwidth,
    })
}

fn expectation(faults: usize) -> impl Strategy<Value = Expectation> {
    let phases = [Phase::Before, Phase::After].into_iter().chain((0..faults).map(Phase::Fault));
    let phase = Union::new(phases.map(Just));
    let bounds = [from(0), from(0)].map(|time| (0.0..=1.0, time));
    (0..Metric::ALL.len(), option::of(phase), bounds, any::<[bool; 2]>()).prop_map(
        |(metric, during, bounds, [lower, upper])| {
            let metric = Metric::ALL[metric];
            let [a, b] = bounds.map(|(share, time)| match metric.unit() {
                Unit::Share => share,
                Unit::Seconds => time.as_secs_f64(),
                Unit::PerSecond | Unit::Count => share * 1e6,
            });
            let during = during.filter(|phase| !metric.is_of_a_fault() || matches!(phase, Phase::Fault(_)));
            let during = during.filter(|_| metric != Metric::Amplification);
            let (min, max) = (lower.then_some(a.min(b)), (upper || !lower).then_some(a.max(b)));
            Expectation { metric, during, min, max }
        },
    )
}

fn slo() -> impl Strategy<Value = Slo> {
    let latency = option::of(1..LATENCY_BOUNDS_US.len());
    let times = [1_000..10_000_u64, 0..1_000_000, 1_000..10_000].map(|ms| ms.prop_map(Duration::from_millis));
    (1e-6..=0.999_999, latency, times, from(0)).prop_map(
        |(objective, bound, [scrape_interval, more, evaluation_interval], hold)| Slo {
            name: String::new(),
            objective,
            kind: if bound.is_some() { SloKind::Latency } else { SloKind::Availability },
            threshold: bound.map(|bound| Duration::from_micros(LATENCY_BOUNDS_US[bound])),
            request: None,
            window: 4 * 8_640 * scrape_interval + more,
            hold,
            scrape_interval,
            evaluation_interval,
        },
    )
}

fn slos() -> impl Strategy<Value = Vec<Slo>> {
    vec(slo(), 0..3).prop_map(|mut slos| {
        slos.iter_mut().enumerate().for_each(|(index, slo)| slo.name = format!("slo-{index}"));
        slos
    })
}

pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    // Boxed: as one value, the state of all of them does not fit on a test's stack.
    let run = from(0).prop_map(|max_lateness| Run { max_lateness });
    let client = (client().boxed(), run, option::of(generator()).boxed(), slos());
    let work = workload().prop_flat_map(|workload| (Just(workload.clone()), kinds(workload))).boxed();
    let mode = prop_oneof![Just(TlsMode::Server), Just(TlsMode::Mutual)];
    let tls = option::of(mode.prop_map(|mode| Tls { mode }));
    let parts = (servers().boxed(), work, load(), (network(), tls), client);
    ("[a-zA-Z0-9_-]{1,64}", option::of(any::<String>()), from(1), parts, 0..4_usize)
        .prop_flat_map(|(name, question, duration, parts, faults)| {
            let faults = vec(fault(&parts.0, duration), faults);
            (Just((name, question, duration, parts)), faults)
        })
        .prop_flat_map(|(head, faults)| (Just(head), vec(expectation(faults.len()), 0..4), Just(faults)))
        .prop_map(|((name, question, duration, parts), expectations, faults)| {
            let (servers, (workload, request), load, (network, tls), (client, run, nemesis, mut slos)) = parts;
            // All objectives but the first are of a kind of requests, as far as there are any.
            let kinds = request.iter().map(|kind| kind.name.clone());
            slos.iter_mut().skip(1).zip(kinds).for_each(|(slo, kind)| slo.request = Some(kind));
            let load = Load { request, ..load };
            let scripted = faults.iter().map(|fault: &Fault| FaultName::from(&fault.kind));
            let drawn = nemesis.iter().flat_map(|nemesis: &FaultGenerator| nemesis.kinds.iter().copied());
            let tls = tls.or_else(|| scripted.chain(drawn).any(FaultName::needs_tls).then(Tls::default));
            within_totals(Scenario {
                name,
                question,
                duration,
                services: Vec::new(),
                edges: Vec::new(),
                servers,
                workload,
                load,
                network,
                tls,
                client,
                run,
                nemesis,
                faults,
                changes: Vec::new(),
                expectations,
                slos,
                notes: ReadingNotes::default(),
            })
        })
}

/// Lowers what would amount to more than a run can have.
fn within_totals(mut scenario: Scenario) -> Scenario {
    let duration = scenario.duration.as_secs_f64();
    let requests = limits::REQUESTS_MAX.min(limits::FAULT_REQUESTS_MAX / scenario.faults.len().max(1) as f64);
    scenario.load.rate = scenario.load.rate.min(requests / duration * 0.99).max(*limits::RATE.start());
    let total = scenario.load.requests(scenario.duration);
    if total > requests || total == 0.0 {
        let Load { rate, arrivals, max_in_flight, request, .. } = scenario.load;
        scenario.load = Load { rate, arrivals, max_in_flight, request, ..Load::default() };
    }
    scenario.load.max_in_flight = scenario.load.max_in_flight.min(500);
    scenario.load.users = scenario.load.users.map(|users| users.min(400));
    // The longest run, of two days, has room for 10 million checks of 64 replicas at this interval.
    if let Some(check) = &mut scenario.client.health_check {
        check.interval = check.interval.max(Duration::from_millis(1_200));
    }
    if let Some(detection) = &mut scenario.client.policies.outlier_detection {
        detection.interval = detection.interval.max(Duration::from_millis(18));
    }
    scenario
}
