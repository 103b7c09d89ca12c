//! Policies of `[client]` that exclude each other, or need one another. Each problem marks one side and names both.

use super::{Balancing, Client, Retry};
use crate::{
    policy::FallbackKind,
    settings::{problem::Problem, source::Span, table::TableReader},
};

/// Turns retries off where calls hedge and the file says nothing of retries; refuses a file that wants both.
pub(super) fn settle_retry(client: &TableReader<'_, '_>, retry: &mut Retry) -> Result<(), Problem> {
    if client.span("hedging").is_none() {
        return Ok(());
    }
    let table = client.table("retry");
    let how = ["initial_backoff", "max_backoff", "backoff_multiplier", "jitter", "retryable_status_codes"];
    let retries = match table.first_of(&["max_attempts"]) {
        Some(max_attempts) => (retry.max_attempts > 1).then_some(max_attempts),
        None => table.first_of(&how),
    };
    let Some((key, span)) = retries else {
        retry.max_attempts = 1;
        return Ok(());
    };
    let message = format!("`{key}` in [client.retry] and [client.hedging] exclude each other");
    Err(Problem::at(span, message).help(
        "a call either retries or hedges (gRPC A6): leave one table out, or write max_attempts = 1 in [client.retry]",
    ))
}

/// Refuses limits of retries where there are none.
pub(super) fn refuse_idle(table: &TableReader<'_, '_>, client: &Client) -> Result<(), Problem> {
    let one_attempt = client.retry.max_attempts == 1 && client.policies.hedging.is_none();
    let bound = table.span("retry_budget").or(table.span("retry_throttling"));
    refuse_at(
        bound.filter(|_| one_attempt),
        "nothing to bound: max_attempts = 1 in [client.retry], and there is no [client.hedging]",
        "let calls retry or hedge, or leave this table out",
    )
}

/// Refuses policies that contradict each other.
pub(super) fn refuse(table: &TableReader<'_, '_>, client: &Client) -> Result<(), Problem> {
    let Client { policies, load_balancing, .. } = client;
    let stale = policies.fallback.as_ref().is_some_and(|fallback| fallback.kind == FallbackKind::Stale);
    refuse_at(
        table.span("fallback").filter(|_| stale && policies.cache.is_none()),
        "kind = \"stale\" in [client.fallback] needs [client.cache], which keeps the answers",
        "add the table [client.cache], or fall back to kind = \"default\"",
    )?;
    refuse_at(
        table.span("adaptive_throttling").filter(|_| policies.adaptive_concurrency.is_some()),
        "[client.adaptive_throttling] and [client.adaptive_concurrency] are two adaptive limits on the attempts of the client: what one \
         rejects is what the other measures by",
        "leave one of them out; a fixed limit beside it, such as [client.bulkhead], is no contradiction",
    )?;
    refuse_at(
        table.span("slow_start").filter(|_| *load_balancing == Balancing::PickFirst),
        "[client.slow_start] and policy = \"pick_first\" in [client.load_balancing] exclude each other",
        "pick_first sends all to one server: choose another policy, or leave the table out",
    )
}

fn refuse_at(span: Option<Span>, message: &str, help: &str) -> Result<(), Problem> {
    match span {
        Some(span) => Err(Problem::at(span, message).help(help)),
        None => Ok(()),
    }
}
