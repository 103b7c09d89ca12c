//! Policies of `[client]` that exclude each other, or need one another. Each problem marks one side and names both.

use super::raw;
use crate::{
    policy::{FallbackKind, Policies},
    scenario::{
        error::Problem,
        model::{Balancing, Retry},
        setting::Setting,
        source::Span,
    },
};

/// The retry policy beside those policies: none, where the file says nothing of it and calls hedge.
pub(super) fn retry(raw: &raw::Client, retry: Retry) -> Result<Retry, Problem> {
    if raw.hedging.is_none() {
        return Ok(retry);
    }
    let raw = &raw.retry;
    let max_attempts = raw.max_attempts.as_ref().map(Setting::span);
    let retries = match &max_attempts {
        Some(span) => (retry.max_attempts > 1).then(|| ("max_attempts", span.clone())),
        None => retries(raw),
    };
    match retries {
        None => Ok(Retry { max_attempts: 1, ..retry }),
        Some((key, span)) => {
            let message = format!("`{key}` in [client.retry] and [client.hedging] exclude each other");
            Err(Problem::at(span, message).help(
                "a call either retries or hedges (gRPC A6): leave one table out, or write max_attempts = 1 in [client.retry]",
            ))
        }
    }
}

/// The first key that says how retries go, beside the number of attempts.
fn retries(raw: &raw::Retry) -> Option<(&'static str, Span)> {
    let keys = [
        ("initial_backoff", raw.initial_backoff.as_ref().map(Setting::span)),
        ("max_backoff", raw.max_backoff.as_ref().map(Setting::span)),
        ("backoff_multiplier", raw.backoff_multiplier.as_ref().map(Setting::span)),
        ("jitter", raw.jitter.as_ref().map(Setting::span)),
        ("retryable_status_codes", raw.retryable_status_codes.as_ref().map(Setting::span)),
    ];
    keys.into_iter().find_map(|(key, span)| Some((key, span?)))
}

/// Of the policies among themselves.
pub(super) fn refuse(
    raw: &raw::Client,
    policies: &Policies,
    balancing: Balancing,
    retry: &Retry,
) -> Result<(), Problem> {
    let one_of = |span: Option<Span>, message: &str, help: &str| match span {
        Some(span) => Err(Problem::at(span, message).help(help)),
        None => Ok(()),
    };
    let idle = retry.max_attempts == 1 && policies.hedging.is_none();
    let bound = raw.retry_budget.as_ref().map(|table| table.span());
    let bound = bound.or(raw.retry_throttling.as_ref().map(|table| table.span()));
    one_of(
        bound.filter(|_| idle),
        "nothing to bound: max_attempts = 1 in [client.retry], and there is no [client.hedging]",
        "let calls retry or hedge, or leave this table out",
    )?;
    let stale = policies.fallback.as_ref().is_some_and(|fallback| fallback.kind == FallbackKind::Stale);
    let fallback = raw.fallback.as_ref().map(|table| table.span());
    one_of(
        fallback.filter(|_| stale && policies.cache.is_none()),
        "kind = \"stale\" in [client.fallback] needs [client.cache], which keeps the answers",
        "add the table [client.cache], or fall back to kind = \"default\"",
    )?;
    let slow_start = raw.slow_start.as_ref().map(|table| table.span());
    one_of(
        slow_start.filter(|_| balancing == Balancing::PickFirst),
        "[client.slow_start] and policy = \"pick_first\" in [client.load_balancing] exclude each other",
        "pick_first sends all to one server: choose another policy, or leave the table out",
    )
}
