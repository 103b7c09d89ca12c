//! A scenario is the same after it was written and read: over random ones, and over the format's own example.

use std::{fs, time::Duration};

use kernel::{
    client::settings::{Commit, HealthMethod, Keepalive, PassiveHealth, PastDeadline, Profile, ServerSelection},
    export::family::LATENCY_BOUNDS_US,
    policy::{
        AdaptiveConcurrency, AdaptiveHedging, AdaptiveThrottling, AdaptiveTimeout, AllEjected, Bulkhead, Cache,
        CircuitBreaker, Deposit, FailurePercentage, Fallback, FallbackKind, Hedging, LimitAlgorithm, OutlierDetection,
        Policies, RateLimit, RetryBudget, RetryThrottling, Scope, SlowStart, SuccessRate,
    },
    scenario::{
        AppTimes, Arrivals, Backend, Balancing, Client, Direction, Expectation, Fault, FaultGenerator, FaultKind,
        FaultName, GraphSize, HealthCheck, Images, Jitter, Load, Metric, Network, Phase, Pictures, ReadingNotes,
        RequestKind, Retry, Run, Scenario, Servers, Shape, Size, Slo, SloKind, Stage, TABLE, ThinkTime, Tls, TlsMode,
        Unit, Workload, limits,
    },
    server::settings::{AdaptiveQueue, Admission},
    settings::{KeyInfo, Presence, TableInfo},
    status::Code,
    store::StoreAddress,
};
use proptest::{collection::vec, option, prelude::*, sample::subsequence, strategy::Union};
use tempfile::TempDir;

const DAY_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Round and crooked ones, down to the nanosecond.
fn from(min_ns: u64) -> impl Strategy<Value = Duration> + Clone {
    let millis = (1..86_400_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        millis,
        (min_ns..=DAY_NS).prop_map(Duration::from_nanos),
        (min_ns..min_ns + 2_000).prop_map(Duration::from_nanos)
    ]
}

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

fn bandwidth() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![1..=1_000_000_000_000_u64, (1..=1_000_u64).prop_map(|mbit| mbit * 1_000_000)]
}

fn network() -> impl Strategy<Value = Network> {
    (from(0), from(0), option::of(bandwidth())).prop_map(|(latency, jitter, bandwidth)| Network {
        latency,
        jitter,
        bandwidth,
    })
}

fn client() -> impl Strategy<Value = Client> {
    let service = option::of(any::<String>());
    let method = option::of(prop_oneof![Just(HealthMethod::Check), Just(HealthMethod::Watch)]);
    let health = (method, from(1_000_000), from(1), service)
        .prop_map(|(method, interval, timeout, service)| HealthCheck { method, interval, timeout, service });
    let passive = codes().prop_map(|status_codes| PassiveHealth { status_codes });
    let keepalive = (from(1_000_000), from(1), any::<bool>(), option::of(from(1)));
    let keepalive = keepalive.prop_map(|(time, timeout, without_calls, user_timeout)| Keepalive {
        time,
        timeout,
        without_calls,
        user_timeout,
    });
    let health = (option::of(health), option::of(passive), option::of(keepalive));
    let times = (from(1), from(1), any::<bool>());
    let profile = prop_oneof![Just(Profile::Resilient), Just(Profile::Grpc)];
    let selection = prop_oneof![Just(ServerSelection::PreferHealthy), Just(ServerSelection::ConnectionState)];
    let bytes = || option::of(limits::MESSAGE_BYTES);
    ((profile, selection), times, balancing(), retry(), health, (policies(), bytes(), bytes())).prop_map(
        |((profile, server_selection), times, load_balancing, retry, health, (policies, request, response))| {
            let (deadline, attempt_timeout, wait_for_ready) = times;
            let (health_check, passive_health, keepalive) = health;
            consistent(Client {
                profile,
                deadline,
                attempt_timeout,
                wait_for_ready,
                server_selection,
                load_balancing,
                retry,
                health_check,
                passive_health,
                keepalive,
                policies,
                max_request_message_bytes: request,
                max_response_message_bytes: response,
            })
        },
    )
}

/// Without what excludes each other.
fn consistent(mut client: Client) -> Client {
    let Client { policies, retry, load_balancing, deadline, attempt_timeout, .. } = &mut client;
    if policies.hedging.is_some() {
        retry.max_attempts = 1;
    } else if retry.max_attempts == 1 {
        (policies.retry_budget, policies.retry_throttling) = (None, None);
    }
    if policies.hedging.is_none() {
        policies.adaptive_hedging = None;
    }
    if let Some(hedging) = &mut policies.adaptive_hedging {
        hedging.min = hedging.min.min(deadline.saturating_sub(Duration::from_nanos(1)));
    }
    if let Some(timeout) = &mut policies.adaptive_timeout {
        timeout.min = timeout.min.min(*attempt_timeout);
    }
    if policies.cache.is_none() && policies.fallback.as_ref().is_some_and(|table| table.kind == FallbackKind::Stale) {
        policies.fallback = None;
    }
    if *load_balancing == Balancing::PickFirst {
        policies.slow_start = None;
    }
    client
}

fn balancing() -> impl Strategy<Value = Balancing> {
    prop_oneof![
        Just(Balancing::PickFirst),
        Just(Balancing::RoundRobin),
        Just(Balancing::Random),
        (2..=100_usize).prop_map(|choice_count| Balancing::LeastRequest { choice_count }),
        (from(1), from(1)).prop_map(|(decay, default_rtt)| Balancing::PeakEwma { decay, default_rtt }),
    ]
}

fn codes() -> impl Strategy<Value = Vec<Code>> {
    let codes: Vec<Code> = Code::names().skip(1).map(|name| name.parse().unwrap()).collect();
    subsequence(codes, 1..=16).prop_shuffle()
}

fn code() -> impl Strategy<Value = Code> {
    (1..17_usize).prop_map(|number| Code::names().nth(number).unwrap().parse().unwrap())
}

fn policies() -> impl Strategy<Value = Policies> {
    let kind = prop_oneof![Just(FallbackKind::Default), Just(FallbackKind::Stale)];
    let fallback = (kind, codes(), any::<bool>()).prop_map(|(kind, status_codes, counts_as_success)| Fallback {
        kind,
        status_codes,
        counts_as_success,
    });
    let redis =
        |user: Option<String>| StoreAddress::Redis { user, host: "cache.example".to_owned(), port: 7, database: 3 };
    let address = prop_oneof![Just(StoreAddress::Builtin), option::of(Just("me".to_owned())).prop_map(redis)];
    let store = option::of((address, from(1), from(1)));
    let cache = (1..=10_000_usize, from(1), from(0), store).prop_map(|(size, ttl, stale_while_revalidate, store)| {
        let kept = ttl + stale_while_revalidate;
        let times = store.as_ref().map(|(_, timeout, pause)| (*timeout, *pause));
        Cache {
            size,
            ttl,
            stale_while_revalidate,
            store: store.map(|(address, ..)| address),
            store_timeout: times.map(|(timeout, _)| timeout),
            store_pause: times.map(|(_, pause)| pause),
            store_keep: times.map(|_| kept),
        }
    });
    let throttling =
        (0.001..=1e3, 0.001..=1e3).prop_map(|(max_tokens, token_ratio)| RetryThrottling { max_tokens, token_ratio });
    let hedging = (2..=100_usize, from(0), option::of(codes())).prop_map(|(max_attempts, hedging_delay, codes)| {
        Hedging { max_attempts, hedging_delay, non_fatal_status_codes: codes.unwrap_or_default() }
    });
    let rate_limit = (1..=1_000_000_usize, from(1), option::of(1..=1_000_000_usize), from(0))
        .prop_map(|(limit, refresh_period, burst, max_wait)| RateLimit { limit, refresh_period, burst, max_wait });
    let bulkhead = (1..=1_000_000_usize, from(0))
        .prop_map(|(max_concurrent_calls, max_wait)| Bulkhead { max_concurrent_calls, max_wait });
    let slow_start =
        (from(1), 0.01..=100.0, 0.001..=100.0).prop_map(|(slow_start_window, aggression, min_weight_percent)| {
            SlowStart { slow_start_window, aggression, min_weight_percent }
        });
    let outer =
        (option::of(fallback), option::of(cache), option::of(throttling), option::of(budget()), option::of(hedging));
    let inner = (
        option::of(breaker()),
        option::of(rate_limit),
        option::of(bulkhead),
        option::of(outlier_detection()),
        option::of(slow_start),
    );
    (outer, inner, adaptive_limit(), adaptive_times()).prop_map(|(outer, inner, limit, times)| {
        let ((adaptive_throttling, adaptive_concurrency), (adaptive_timeout, adaptive_hedging)) = (limit, times);
        let (fallback, cache, retry_throttling, retry_budget, hedging) = outer;
        let (circuit_breaker, rate_limit, bulkhead, outlier_detection, slow_start) = inner;
        Policies {
            fallback,
            cache,
            retry_throttling,
            retry_budget,
            hedging,
            adaptive_hedging,
            circuit_breaker,
            adaptive_throttling,
            rate_limit,
            adaptive_timeout,
            bulkhead,
            adaptive_concurrency,
            outlier_detection,
            slow_start,
        }
    })
}

/// Neither or one of the adaptive limits of the client.
fn adaptive_limit() -> impl Strategy<Value = (Option<AdaptiveThrottling>, Option<AdaptiveConcurrency>)> {
    let throttling = (1.0..=1e3, from(1), codes()).prop_map(|(multiplier, window, rejected_status_codes)| {
        (Some(AdaptiveThrottling { multiplier, window, rejected_status_codes }), None)
    });
    let bounds = (1..=1_000_usize, 0..=1_000_usize, 0..=1_000_usize);
    let gradient = (1e-6..=1.0, 0..=1_000_000_usize, 1..=1_000_000_usize, 1.0..=1e3);
    let aimd = (1e-6..=1.0, from(1), codes());
    let concurrency = (bounds, any::<bool>(), gradient, aimd).prop_map(|(bounds, is_aimd, gradient, aimd)| {
        let ((min_limit, more, yet_more), gradient, aimd) = (bounds, Some(gradient), Some(aimd));
        let (gradient, aimd) = (gradient.filter(|_| !is_aimd), aimd.filter(|_| is_aimd));
        let limit = AdaptiveConcurrency {
            algorithm: if is_aimd { LimitAlgorithm::Aimd } else { LimitAlgorithm::Gradient2 },
            initial_limit: min_limit + more,
            min_limit,
            max_limit: min_limit + more + yet_more,
            smoothing: gradient.map(|gradient| gradient.0),
            queue_size: gradient.map(|gradient| gradient.1),
            long_window: gradient.map(|gradient| gradient.2),
            tolerance: gradient.map(|gradient| gradient.3),
            backoff_ratio: aimd.as_ref().map(|aimd| aimd.0),
            timeout: aimd.as_ref().map(|aimd| aimd.1),
            drop_status_codes: aimd.map(|aimd| aimd.2),
        };
        (None, Some(limit))
    });
    prop_oneof![Just((None, None)), throttling, concurrency]
}

fn adaptive_times() -> impl Strategy<Value = (Option<AdaptiveTimeout>, Option<AdaptiveHedging>)> {
    let timeout = (0.001..=100.0, 1.0..=1e3, from(1), from(1), 1..=1_000_000_usize).prop_map(
        |(percentile, factor, min, window, minimum_samples)| AdaptiveTimeout {
            percentile,
            factor,
            min,
            window,
            minimum_samples,
        },
    );
    let hedging = (0.001..=100.0, from(0), from(1), 1..=1_000_000_usize).prop_map(
        |(percentile, min, window, minimum_samples)| AdaptiveHedging { percentile, min, window, minimum_samples },
    );
    (option::of(timeout), option::of(hedging))
}

fn budget() -> impl Strategy<Value = RetryBudget> {
    let envoy = (0..=1_000_000_usize).prop_map(Some);
    let deposit = option::of(prop_oneof![Just(Deposit::Call), Just(Deposit::Success)]);
    let finagle = (from(1), 0.0..=1e6, deposit).prop_map(|(ttl, min, deposit)| (None, Some((ttl, min, deposit))));
    let envoy = envoy.prop_map(|min| (min, None));
    (0.0..=1e5, prop_oneof![envoy, finagle]).prop_map(|(percent, (min_retry_concurrency, finagle))| RetryBudget {
        percent,
        min_retry_concurrency,
        ttl: finagle.map(|(ttl, ..)| ttl),
        min_per_second: finagle.map(|(_, min, _)| min),
        deposit: finagle.and_then(|(.., deposit)| deposit),
    })
}

fn breaker() -> impl Strategy<Value = CircuitBreaker> {
    let scope = prop_oneof![Just(Scope::Server), Just(Scope::Service)];
    let row = option::of(1..=1_000_000_usize);
    let rate = option::of(0.001..=100.0);
    let slow = option::of((from(1), 0.001..=100.0));
    let window = (1..=100_000_usize, 0.0..=1.0);
    let by_time = option::of((1..=3_600_000_000_000_u64).prop_map(Duration::from_nanos));
    let later = (by_time, option::of(from(1)), option::of(codes()));
    (scope, (row, rate, slow), window, from(1), 1..=1_000_000_usize, codes(), later).prop_map(
        |(
            scope,
            (row, failure_rate_threshold, slow),
            (window, share),
            reset_timeout,
            permitted,
            failure_status_codes,
            (sliding_window_duration, max_wait_duration_in_half_open, ignored_status_codes),
        )| {
            let none = failure_rate_threshold.is_none() && slow.is_none();
            CircuitBreaker {
                scope,
                consecutive_failures: row.or(none.then_some(5)),
                failure_rate_threshold,
                sliding_window_size: if sliding_window_duration.is_some() { 100 } else { window },
                minimum_number_of_calls: ((window as f64 * share) as usize).max(1),
                slow_call_duration_threshold: slow.map(|(duration, _)| duration),
                slow_call_rate_threshold: slow.map(|(_, rate)| rate),
                reset_timeout,
                permitted_calls_in_half_open: permitted,
                failure_status_codes,
                sliding_window_duration,
                max_wait_duration_in_half_open,
                ignored_status_codes,
            }
        },
    )
}

fn outlier_detection() -> impl Strategy<Value = OutlierDetection> {
    let count = || 0..=1_000_000_usize;
    let percent = || 0.0..=100.0;
    let success_rate = (count(), percent(), count(), count()).prop_map(
        |(stdev_factor, enforcement_percentage, minimum_hosts, request_volume)| SuccessRate {
            stdev_factor,
            enforcement_percentage,
            minimum_hosts,
            request_volume,
        },
    );
    let failure_percentage = (percent(), percent(), count(), count()).prop_map(
        |(threshold, enforcement_percentage, minimum_hosts, request_volume)| FailurePercentage {
            threshold,
            enforcement_percentage,
            minimum_hosts,
            request_volume,
        },
    );
    let times = (from(1_000_000), from(1), from(1));
    let all_ejected = prop_oneof![Just(AllEjected::AskAnyway), Just(AllEjected::Fail)];
    let counts = (percent(), count(), all_ejected);
    (times, counts, option::of(success_rate), option::of(failure_percentage)).prop_map(
        |(times, (max_ejection_percent, consecutive_errors, all_ejected), success_rate, failure_percentage)| {
            OutlierDetection {
                interval: times.0,
                base_ejection_time: times.1,
                max_ejection_time: times.2,
                max_ejection_percent,
                consecutive_errors,
                all_ejected,
                success_rate,
                failure_percentage,
            }
        },
    )
}

fn retry() -> impl Strategy<Value = Retry> {
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Proportional), Just(Jitter::Full), Just(Jitter::Equal)];
    let commit = prop_oneof![Just(Commit::Reply), Just(Commit::Headers)];
    let past_deadline = prop_oneof![Just(PastDeadline::LastStatus), Just(PastDeadline::DeadlineExceeded)];
    let rules = (any::<bool>(), commit, any::<bool>(), past_deadline);
    (1..=100_u32, from(0), from(0), 0.001..=1_000.0, jitter, codes(), rules).prop_map(
        |(max_attempts, initial_backoff, max_backoff, backoff_multiplier, jitter, codes, rules)| Retry {
            max_attempts,
            initial_backoff,
            max_backoff,
            backoff_multiplier,
            jitter,
            retryable_status_codes: codes,
            prefer_other_server: rules.0,
            commit: rules.1,
            transparent: rules.2,
            past_deadline: rules.3,
        },
    )
}

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
fn fault(servers: &Servers, end: Duration) -> impl Strategy<Value = Fault> + use<> {
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

fn generator() -> impl Strategy<Value = FaultGenerator> {
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

fn scenario() -> impl Strategy<Value = Scenario> {
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

/// Returns the client of a scenario that has nothing but this service config in its `[client]`.
fn from_service_config(json: &str) -> Client {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("config.json"), json).unwrap();
    let text = "name = 'a'\nduration = '9s'\nload.rate = 1\nclient.service_config = 'config.json'\n";
    fs::write(folder.path().join("scenario.toml"), text).unwrap();
    let read = Scenario::load(&folder.path().join("scenario.toml"), &[]);
    read.unwrap_or_else(|error| panic!("{json}\n{error}")).client
}

proptest! {
    #[test]
    fn a_random_scenario_is_read_back_as_it_was_written(scenario in scenario()) {
        let text = scenario.to_toml();
        let read = Scenario::parse("written.toml", &text, &[]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&read, &scenario);
        prop_assert_eq!(read.to_toml(), text, "the second writing differs from the first");
    }

    /// What has a place in a service config is read back as it was, whatever the client; what is read has a place.
    #[test]
    fn a_random_client_is_read_back_from_its_service_config(mut client in client()) {
        // The longest call, of a day, has room for 10 million sweeps of this interval.
        if let Some(detection) = &mut client.policies.outlier_detection {
            detection.interval = detection.interval.max(Duration::from_millis(18));
        }
        let exported = client.to_service_config();
        let read = from_service_config(&exported.json);
        let omitted = |path: &str| exported.omitted.iter().any(|omitted| omitted.contains(path));
        prop_assert_eq!((read.deadline, read.wait_for_ready), (client.deadline, client.wait_for_ready));
        prop_assert_eq!(read.load_balancing != client.load_balancing, omitted("client.load_balancing."));
        prop_assert_eq!(
            read.attempt_timeout != client.attempt_timeout.min(client.deadline), omitted("client.attempt_timeout"),
        );
        prop_assert_eq!(read.retry.max_attempts != client.retry.max_attempts, omitted("client.retry.max_attempts"));
        let detections = [&read, &client].map(|client| &client.policies.outlier_detection);
        prop_assert_eq!(detections[0] != detections[1], omitted("client.outlier_detection."));
        let hedgings = [&read, &client].map(|client| &client.policies.hedging);
        prop_assert_eq!(hedgings[0] != hedgings[1], omitted("client.hedging."));
        prop_assert_eq!(client.policies.circuit_breaker.is_some(), omitted("[client.circuit_breaker]"));

        let again = read.to_service_config();
        prop_assert_eq!(&again.json, &exported.json);
        prop_assert_eq!(&again.omitted, &Vec::<String>::new());
        prop_assert_eq!(from_service_config(&again.json), read);
    }

    #[test]
    fn no_text_and_no_override_makes_the_parser_panic(text in ".*|([a-z]+ = [\\[\"{0-9]*\n?){0,4}", set in ".*") {
        if let Err(error) = Scenario::parse("a.toml", &text, &[set]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_override_of_a_valid_file_makes_the_parser_panic(
        key in "(client|fault|load|servers|workload)(\\.([0-3]|retry|rate|kind|sizes|é)){0,3}",
        value in ".*|[0-9]{1,30}|\\[.*\\]|\\{ ?(a = 1)? ?\\}",
    ) {
        let valid = "name = 'a'\nduration = '9s'\nload.rate = 1\n[[fault]]\nat = '1s'\nkind = 'reset'\ntarget = '*'";
        if let Err(error) = Scenario::parse("a.toml", valid, &[format!("{key}={value}")]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

const EXAMPLE: &str = include_str!("../example.toml");

#[test]
fn the_smallest_scenario_resolves_to_the_documented_defaults() {
    let smallest = "name = 'story'\nduration = '90s'\n[load]\nrate = 5";
    insta::assert_snapshot!("defaults", Scenario::parse("smallest.toml", smallest, &[]).unwrap().to_toml());
}

#[test]
fn the_formats_own_example_resolves_and_reads_back() {
    let scenario = Scenario::parse("example.toml", EXAMPLE, &[]).unwrap();
    let text = scenario.to_toml();
    insta::assert_snapshot!("example", text);
    assert_eq!(Scenario::parse("written.toml", &text, &[]).unwrap(), scenario);
}

#[test]
fn a_crash_restarts_after_its_own_time_or_else_the_servers() {
    let crash = |own: &str| {
        let text = format!(
            "name = 'a'\nduration = '9s'\nload.rate = 1\nservers.restart_after = '2s'\n\
             [[fault]]\nat = '1s'\nkind = 'crash'\ntarget = 'server-1'\n{own}"
        );
        Scenario::parse("a.toml", &text, &[]).unwrap().faults.remove(0).kind
    };
    assert_eq!(crash(""), FaultKind::Crash { restart_after: Some(Duration::from_secs(2)) });
    assert_eq!(crash("restart_after = '5s'"), FaultKind::Crash { restart_after: Some(Duration::from_secs(5)) });
}

#[test]
fn targets_are_a_name_a_list_or_every_link() {
    let targets = |target: &str| {
        let text = format!(
            "name = 'a'\nduration = '9s'\nload.rate = 1\nservers.replicas = 3\n\
             [[fault]]\nat = '9s'\nkind = 'reset'\ntarget = {target}"
        );
        Scenario::parse("a.toml", &text, &[]).unwrap().faults.remove(0).targets
    };
    assert_eq!(targets("'server-1'"), [1]);
    assert_eq!(targets("['server-2', 'server-0']"), [0, 2]);
    assert_eq!(targets("'*'"), [0, 1, 2]);
}

/// Calls `visit` with the path of every key that a file may have, its declaration, and what has to be set beside it.
fn for_each_key(
    table: &TableInfo,
    path: &str,
    beside: &[String],
    visit: &mut impl FnMut(&str, &dyn KeyInfo, &[String]),
) {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    for key in table.keys {
        visit(&format!("{prefix}{}", key.name()), *key, beside);
    }
    if let Some(kinds) = table.kinds {
        for (name, kind) in kinds.variants {
            let mut beside = beside.to_vec();
            beside.push(format!("{prefix}{}={name}", kinds.key));
            let required = kind.keys.iter().filter(|key| key.is_required());
            beside.extend(required.map(|key| format!("{prefix}{}={}", key.name(), key.example())));
            kind.keys.iter().for_each(|key| visit(&format!("{prefix}{}", key.name()), *key, &beside));
        }
    }
    for (name, presence, inner) in table.tables {
        let inner_path = format!("{prefix}{name}");
        match presence {
            Presence::List => for_each_key(inner, &format!("{inner_path}.0"), beside, visit),
            Presence::Always | Presence::Optional | Presence::ByProfile => {
                for_each_key(inner, &inner_path, beside, visit)
            }
        }
    }
}

/// A scenario with services, whose first edge is one between them.
const SERVICES: &str = "name = \"keys\"\nduration = \"1m\"\nworkload = { kind = \"app\" }\nload = { rate = 5 }\n[[service]]\nname = \"till\"\n[[service]]\nname = \"stock\"\n[[edge]]\nfrom = \"till\"\nto = \"stock\"\n[[edge]]\nfrom = \"client\"\nto = \"till\"\n";

#[test]
fn every_key_is_read_back_with_its_default_its_example_and_its_samples() {
    let file = "name = \"keys\"\nduration = \"1m\"\n[load]\nrate = 5\n[[load.stage]]\nduration = \"1s\"\n[[load.request]]\nname = \"a\"\n[[fault]]\nat = \"1s\"\nkind = \"reset\"\ntarget = \"server-0\"\n[[change]]\nat = \"1s\"\nsetting = \"client.retry.max_attempts\"\nto = 1\n[[slo]]\nname = \"a\"\nobjective = 0.9\n";
    let mut keys = 0;
    for_each_key(TABLE, "", &[], &mut |path, key, beside| {
        // An expectation's bounds depend on its metric, a service config is a file, and names are those of others; all have tests of their own.
        let inner = path.strip_prefix("edge.0.");
        let is_name = ["service.0.name", "edge.0.from", "edge.0.to"].contains(&path);
        if is_name || path.starts_with("expect") || inner.unwrap_or(path).starts_with("client.service_config") {
            return;
        }
        let file = if path.starts_with("service") || inner.is_some() { SERVICES } else { file };
        let (of_edge, path) = (if inner.is_some() { "edge.0." } else { "" }, inner.unwrap_or(path));
        keys += 1;
        let values = key.samples().iter().map(|sample| (*sample).to_owned());
        for value in values.chain(key.default_text()).chain(Some(key.example()).filter(|text| !text.is_empty())) {
            let mut overrides = beside.to_vec();
            // What single keys need beside them.
            if path.starts_with("client.hedging") || path.starts_with("client.adaptive_hedging") {
                overrides.push(format!("{of_edge}client.retry.max_attempts=1"));
            }
            if path.starts_with("client.adaptive_hedging") {
                overrides.push(format!("{of_edge}client.hedging=on"));
            }
            if path.starts_with("client.adaptive_concurrency") && key.doc().contains("`aimd`:") {
                overrides.push(format!("{of_edge}client.adaptive_concurrency.algorithm=aimd"));
            }
            if path.starts_with("load.think_time") {
                overrides.push("load.users=3".into());
            }
            if path == "client.fallback.kind" {
                overrides.push(format!("{of_edge}client.cache=on"));
            }
            if path == "slo.0.request" {
                overrides.push(format!("load.request.0.name={value}"));
            }
            // A key of a kind of requests is of one workload, whose name is in its documentation.
            if path.starts_with("load.request") {
                let workloads = ["dfs", "backend"].into_iter().find(|name| key.doc().contains(&format!("`{name}`")));
                overrides.extend(workloads.map(|name| format!("workload.kind={name}")));
            }
            overrides.push(format!("{of_edge}{path}={value}"));
            let scenario =
                Scenario::parse("keys.toml", file, &overrides).unwrap_or_else(|error| panic!("{overrides:?}\n{error}"));
            assert_eq!(Scenario::parse("written.toml", &scenario.to_toml(), &[]).unwrap(), scenario, "{overrides:?}");
        }
    });
    assert!(keys > 80, "{keys}");
}
