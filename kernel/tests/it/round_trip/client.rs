//! Random clients.

use std::time::Duration;

use kernel::{
    client::settings::{Commit, HealthMethod, Keepalive, PassiveHealth, PastDeadline, Profile, ServerSelection},
    policy::{
        AdaptiveConcurrency, AdaptiveHedging, AdaptiveThrottling, AdaptiveTimeout, AllEjected, Bulkhead, Cache,
        CircuitBreaker, Deposit, FailurePercentage, Fallback, FallbackKind, Hedging, LimitAlgorithm, OutlierDetection,
        Policies, RateLimit, RetryBudget, RetryThrottling, Scope, SlowStart, SuccessRate,
    },
    scenario::{Balancing, Client, HealthCheck, Jitter, Retry, limits},
    store::StoreAddress,
};
use proptest::{option, prelude::*};

use super::value::{codes, from};

pub(super) fn client() -> impl Strategy<Value = Client> {
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
