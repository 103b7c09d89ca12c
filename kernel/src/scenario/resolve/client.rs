//! `[client]` and the tables in it.

use toml::Spanned;

use super::limits;
use crate::{
    scenario::{
        error::Problem,
        model::{Client, HealthCheck, Retry},
        raw,
        setting::{Choice, Setting, read_or, within_or},
    },
    status::Code,
};

pub(super) fn client(raw: &raw::Client) -> Result<Client, Problem> {
    let default = Client::default();
    let policy = raw.load_balancing.policy.as_ref();
    Ok(Client {
        deadline: within_or(raw.deadline.as_ref(), &limits::DURATION, default.deadline)?,
        attempt_timeout: within_or(raw.attempt_timeout.as_ref(), &limits::DURATION, default.attempt_timeout)?,
        load_balancing: read_or(policy, Choice(default.load_balancing))?.0,
        retry: retry(&raw.retry)?,
        health_check: health_check(&raw.health_check)?,
    })
}

fn retry(raw: &raw::Retry) -> Result<Retry, Problem> {
    let default = Retry::default();
    let max_attempts = raw.max_attempts.as_ref().map(|setting| setting.within(&limits::MAX_ATTEMPTS)).transpose()?;
    let multiplier = raw.backoff_multiplier.as_ref();
    Ok(Retry {
        max_attempts: max_attempts.and_then(|count| u32::try_from(count).ok()).unwrap_or(default.max_attempts),
        initial_backoff: within_or(raw.initial_backoff.as_ref(), &limits::WAIT, default.initial_backoff)?,
        max_backoff: within_or(raw.max_backoff.as_ref(), &limits::WAIT, default.max_backoff)?,
        backoff_multiplier: within_or(multiplier, &limits::BACKOFF_MULTIPLIER, default.backoff_multiplier)?,
        jitter: read_or(raw.jitter.as_ref(), Choice(default.jitter))?.0,
        retryable_status_codes: match &raw.retryable_status_codes {
            Some(setting) => codes(setting)?,
            None => default.retryable_status_codes,
        },
        prefer_other_server: read_or(raw.prefer_other_server.as_ref(), default.prefer_other_server)?,
    })
}

/// Without OK, which ends a call, and without repeats. An empty list is refused as gRPC A6 does.
fn codes(setting: &Setting<Vec<Spanned<Code>>>) -> Result<Vec<Code>, Problem> {
    let mut codes = Vec::new();
    for code in setting.read()? {
        let (span, code) = (code.span(), code.into_inner());
        if code == Code::Ok {
            return Err(Problem::at(span, "`OK` cannot be retried; leave it out"));
        }
        if codes.contains(&code) {
            return Err(Problem::at(span, format!("`{code}` is in the list already; leave one out")));
        }
        codes.push(code);
    }
    if codes.is_empty() {
        return Err(Problem::at(setting.span(), "the list is empty; to retry nothing, write max_attempts = 1 instead"));
    }
    Ok(codes)
}

fn health_check(raw: &raw::HealthCheck) -> Result<HealthCheck, Problem> {
    let default = HealthCheck::default();
    Ok(HealthCheck {
        interval: within_or(raw.interval.as_ref(), &limits::DURATION, default.interval)?,
        timeout: within_or(raw.timeout.as_ref(), &limits::DURATION, default.timeout)?,
    })
}
