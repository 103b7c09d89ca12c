//! `methodConfig`: the entries of a service config for methods, and the one that is rehearsed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Jitter, Retry,
    json::{Fault, Node, Notes},
};
use crate::{policy::Hedging, settings::limits, status::Code};

/// gRPC A6's cap, which a client takes higher values for.
pub(super) const MAX_ATTEMPTS: u32 = 5;

/// The settings of an entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MethodConfig {
    pub(super) retry: Option<Retry>,
    /// Limit of an attempt.
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) hedging: Option<Hedging>,
    pub(super) timeout: Option<Duration>,
    pub(super) wait_for_ready: Option<bool>,
    pub(super) max_request_message_bytes: Option<usize>,
    pub(super) max_response_message_bytes: Option<usize>,
}

/// Returns the settings of `method`, written `package.Service/Method` or `package.Service`, or of the only entry without. As in
/// gRPC, every entry has to be valid.
pub(super) fn choose(entries: &[Node<'_>], method: Option<&str>, notes: &Notes) -> Result<MethodConfig, Fault> {
    let mut names = Names::default();
    for (entry, node) in entries.iter().enumerate() {
        names.add(node, entry)?;
    }
    let chosen = names.chosen(entries.len(), method, notes)?;
    let mut config = MethodConfig::default();
    for (entry, node) in entries.iter().enumerate() {
        let read = method_config(node)?;
        if Some(entry) == chosen {
            config = read;
        }
    }
    Ok(config)
}

/// The entries by their names: `package.Service/Method`, `package.Service/` for all of a service, or empty for all services.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn add(&mut self, entry: &Node<'_>, index: usize) -> Result<(), Fault> {
        // Only the names: the other fields are read later.
        let Some(list) = entry.fields(&METHOD_FIELDS)?.get("name").cloned() else { return Ok(()) };
        for name in list.items()? {
            let fields = name.fields(&["service", "method"])?;
            let service = fields.get("service").map_or(Ok(""), Node::text)?;
            let method = fields.get("method").map_or(Ok(""), Node::text)?;
            if service.is_empty() && !method.is_empty() {
                return Err(name.refused("method name populated without service name"));
            }
            let path = if service.is_empty() { String::new() } else { format!("{service}/{method}") };
            if self.0.contains_key(&path) {
                return Err(match path.as_str() {
                    "" => name.refused("duplicate default method config"),
                    path => name.refused(&format!("multiple method configs for path /{path}")),
                });
            }
            self.0.insert(path, index);
        }
        Ok(())
    }

    /// Returns the index of the entry of `method`, looked up as gRPC does: the method's own, else its service's, else the one
    /// for all. Without a method it is the only entry that has a name.
    fn chosen(&self, entries: usize, method: Option<&str>, notes: &Notes) -> Result<Option<usize>, Fault> {
        let Some(method) = method else { return self.only(entries, notes) };
        // The path of an HTTP request begins with a slash, and people copy it from there.
        let method = method.strip_prefix('/').unwrap_or(method);
        let service = method.split_once('/').map_or(method, |(service, _)| service);
        let found = [method, &format!("{service}/"), ""].iter().find_map(|name| self.0.get(*name)).copied();
        if found.is_none() {
            notes.add(&format!(
                "methodConfig has no entry for `{method}`, so that gRPC's defaults apply: no retries, no timeout; it has {}",
                self.listed()
            ));
        }
        Ok(found)
    }

    fn only(&self, entries: usize, notes: &Notes) -> Result<Option<usize>, Fault> {
        let named: BTreeSet<usize> = self.0.values().copied().collect();
        match (named.len(), named.first()) {
            (0 | 1, only) => {
                if only.is_none() && entries > 0 {
                    notes.add("methodConfig: no entry has a name, and so none applies to any method");
                }
                Ok(only.copied())
            }
            (several, _) => Err(Fault(format!(
                "methodConfig: there are {several} entries; say which is rehearsed with service_config_method, one of {}",
                self.listed()
            ))),
        }
    }

    fn listed(&self) -> String {
        let mut shown: Vec<_> = self.0.keys().take(LISTED_MAX).map(|name| shown(name)).collect();
        match self.0.len() {
            0 => return "none".to_owned(),
            count if count > LISTED_MAX => shown.push(format!("{} more", count - LISTED_MAX)),
            _ => {}
        }
        shown.join(", ")
    }
}

/// The most names that a message lists.
const LISTED_MAX: usize = 20;

fn shown(name: &str) -> String {
    match name.strip_suffix('/').unwrap_or(name) {
        "" => "the one for all".to_owned(),
        name => format!("`{name}`"),
    }
}

const METHOD_FIELDS: [&str; 7] = [
    "name",
    "waitForReady",
    "timeout",
    "maxRequestMessageBytes",
    "maxResponseMessageBytes",
    "retryPolicy",
    "hedgingPolicy",
];

fn method_config(entry: &Node<'_>) -> Result<MethodConfig, Fault> {
    let fields = entry.fields(&METHOD_FIELDS)?;
    if let (Some(_), Some(hedging)) = (fields.get("retryPolicy"), fields.get("hedgingPolicy")) {
        return Err(hedging.fault("`hedgingPolicy` and `retryPolicy` exclude each other (gRPC A6); leave one out"));
    }
    let bytes = |name| -> Result<Option<usize>, Fault> {
        Ok(fields.get(name).map(Node::whole).transpose()?.map(|bytes| bytes as usize))
    };
    let mut config = MethodConfig {
        max_request_message_bytes: bytes("maxRequestMessageBytes")?,
        max_response_message_bytes: bytes("maxResponseMessageBytes")?,
        hedging: fields.get("hedgingPolicy").map(hedging).transpose()?,
        wait_for_ready: fields.get("waitForReady").map(Node::boolean).transpose()?,
        ..MethodConfig::default()
    };
    if let Some(timeout) = fields.get("timeout") {
        config.timeout = Some(timeout.duration()?).filter(|timeout| !timeout.is_zero());
        if config.timeout.is_none() {
            timeout.note("gRPC's core reads 0s as no timeout, and so does a rehearsal");
        }
    }
    if let Some(policy) = fields.get("retryPolicy") {
        read_retry(policy, &mut config)?;
    }
    Ok(config)
}

fn read_retry(policy: &Node<'_>, config: &mut MethodConfig) -> Result<(), Fault> {
    let fields = policy.fields(&[
        "maxAttempts",
        "initialBackoff",
        "maxBackoff",
        "backoffMultiplier",
        "retryableStatusCodes",
        "perAttemptRecvTimeout",
    ])?;
    let max_attempts = max_attempts(fields.required("maxAttempts")?)?;
    let initial_backoff = fields.required("initialBackoff")?.some_duration()?;
    let max_backoff = fields.required("maxBackoff")?.some_duration()?;
    let backoff_multiplier = fields.required("backoffMultiplier")?.positive(&limits::BACKOFF_MULTIPLIER)?;
    config.attempt_timeout = fields.get("perAttemptRecvTimeout").map(Node::some_duration).transpose()?;
    let codes = fields.get("retryableStatusCodes");
    let mut retryable_status_codes = codes.map_or(Ok(Vec::new()), Node::codes)?;
    match config.attempt_timeout {
        None if retryable_status_codes.is_empty() => {
            fields.required("retryableStatusCodes")?;
            return Err(codes.unwrap_or(policy).refused("must be non-empty"));
        }
        Some(_) if !retryable_status_codes.contains(&Code::DeadlineExceeded) => {
            policy.note(
                "gRPC retries an attempt that exceeds perAttemptRecvTimeout whatever its status, so that a rehearsal retries \
                 DEADLINE_EXCEEDED, too",
            );
            retryable_status_codes.push(Code::DeadlineExceeded);
        }
        _ => {}
    }
    config.retry = Some(Retry {
        max_attempts,
        initial_backoff,
        max_backoff,
        backoff_multiplier,
        jitter: Jitter::Proportional,
        retryable_status_codes,
        ..Retry::default()
    });
    Ok(())
}

fn hedging(policy: &Node<'_>) -> Result<Hedging, Fault> {
    let fields = policy.fields(&["maxAttempts", "hedgingDelay", "nonFatalStatusCodes"])?;
    Ok(Hedging {
        max_attempts: max_attempts(fields.required("maxAttempts")?)? as usize,
        hedging_delay: fields.get("hedgingDelay").map_or(Ok(Duration::ZERO), Node::duration)?,
        non_fatal_status_codes: fields.get("nonFatalStatusCodes").map_or(Ok(Vec::new()), Node::codes)?,
    })
}

fn max_attempts(node: &Node<'_>) -> Result<u32, Fault> {
    match node.whole()? {
        0 | 1 => Err(node.refused("must be at least 2")),
        attempts => {
            if attempts > MAX_ATTEMPTS {
                node.note(format!("gRPC makes {MAX_ATTEMPTS} attempts at most"));
            }
            Ok(attempts.min(MAX_ATTEMPTS))
        }
    }
}
