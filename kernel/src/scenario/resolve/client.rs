//! `[client]` and the tables in it.

use std::path::Path;

use toml::Spanned;

use super::{contradictions, limits};
use crate::{
    scenario::{
        defaults,
        error::Problem,
        model::{Balancing, Client, HealthCheck, Retry},
        names::{BalancingName, Named},
        raw, service_config,
        setting::{Choice, Setting, read_or, within_or},
    },
    status::Code,
};

/// A service config is looked for in `base`.
pub(super) fn client(raw: &raw::Client, base: &Path) -> Result<Client, Problem> {
    let default = Client::default();
    let policies = raw.policies()?;
    let load_balancing = balancing(&raw.load_balancing)?;
    let retry = contradictions::retry(raw, retry(&raw.retry)?)?;
    contradictions::refuse(raw, &policies, load_balancing, &retry)?;
    let mut client = Client {
        deadline: within_or(raw.deadline.as_ref(), &limits::DURATION, default.deadline)?,
        attempt_timeout: within_or(raw.attempt_timeout.as_ref(), &limits::DURATION, default.attempt_timeout)?,
        wait_for_ready: read_or(raw.wait_for_ready.as_ref(), default.wait_for_ready)?,
        load_balancing,
        retry,
        health_check: health_check(&raw.health_check)?,
        policies,
    };
    service_config::apply(raw, base, &mut client)?;
    Ok(client)
}

fn balancing(raw: &raw::LoadBalancing) -> Result<Balancing, Problem> {
    let policy = read_or(raw.policy.as_ref(), Choice(BalancingName::from(&Client::default().load_balancing)))?.0;
    let taken: &[&str] = match policy {
        BalancingName::PickFirst | BalancingName::RoundRobin | BalancingName::Random => &[],
        BalancingName::LeastRequest => &["choice_count"],
        BalancingName::PeakEwma => &["decay", "default_rtt"],
    };
    let given = [
        ("choice_count", raw.choice_count.as_ref().map(Setting::span)),
        ("decay", raw.decay.as_ref().map(Setting::span)),
        ("default_rtt", raw.default_rtt.as_ref().map(Setting::span)),
    ];
    for (key, span) in given {
        if let Some(span) = span.filter(|_| !taken.contains(&key)) {
            let owner = if key == "choice_count" { "least_request" } else { "peak_ewma" };
            let message = format!("`{key}` is of the policy `{owner}`, and this is `{}`", policy.to_name());
            return Err(Problem::at(span, message).help(format!("leave it out, or write policy = \"{owner}\"")));
        }
    }
    Ok(match policy {
        BalancingName::PickFirst => Balancing::PickFirst,
        BalancingName::RoundRobin => Balancing::RoundRobin,
        BalancingName::Random => Balancing::Random,
        BalancingName::LeastRequest => Balancing::LeastRequest {
            choice_count: within_or(raw.choice_count.as_ref(), &limits::CHOICE_COUNT, defaults::CHOICE_COUNT)?,
        },
        BalancingName::PeakEwma => Balancing::PeakEwma {
            decay: within_or(raw.decay.as_ref(), &limits::DURATION, defaults::EWMA_DECAY)?,
            default_rtt: within_or(raw.default_rtt.as_ref(), &limits::DURATION, defaults::EWMA_DEFAULT_RTT)?,
        },
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
            Some(setting) => codes(setting, "to retry nothing, write max_attempts = 1 instead")?,
            None => default.retryable_status_codes,
        },
        prefer_other_server: read_or(raw.prefer_other_server.as_ref(), default.prefer_other_server)?,
    })
}

/// Without OK, which ends a call, and without repeats. An empty list is refused as gRPC A6 does.
/// `instead` says what to write.
pub(in crate::scenario) fn codes(setting: &Setting<Vec<Spanned<Code>>>, instead: &str) -> Result<Vec<Code>, Problem> {
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
        return Err(Problem::at(setting.span(), format!("the list is empty; {instead}")));
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
