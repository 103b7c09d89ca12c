//! The settings of all policies at once. None of them changes a call: the cache keeps nothing for longer than a nanosecond,
//! and the limits are high.

/// Settings of the cache and the fallback.
pub(crate) const CACHE: [&str; 2] = ["client.cache.ttl=1ns", "client.fallback.kind=stale"];

/// Settings of all other policies.
pub(crate) const OTHERS: [&str; 14] = [
    "client.wait_for_ready=true",
    "client.load_balancing.policy=peak_ewma",
    "client.retry_throttling.max_tokens=10",
    "client.retry_budget.percent=20",
    "client.circuit_breaker.scope=server",
    "client.circuit_breaker.consecutive_failures=5",
    "client.circuit_breaker.failure_rate_threshold=50",
    "client.circuit_breaker.slow_call_duration_threshold=5s",
    "client.rate_limit.limit=100000",
    "client.bulkhead.max_concurrent_calls=1000",
    "client.outlier_detection.success_rate={ minimum_hosts = 2 }",
    "client.outlier_detection.failure_percentage={ minimum_hosts = 2 }",
    "client.outlier_detection.interval=1s",
    "client.slow_start.slow_start_window=30s",
];
