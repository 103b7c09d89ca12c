//! `[[fault]]`: what each kind takes and needs, and whom it can hit.

use std::time::Duration;

use toml::Spanned;

use super::{bit_rate, failure_status, limits, required};
use crate::scenario::{
    error::Problem,
    model::{Direction, Fault, FaultKind, Servers, server_name},
    names::{FaultName, Named},
    nearest::{backticked, nearest},
    raw,
    setting::{Choice, OneOrMore, Setting, read_or, within_or},
    source::Span,
    table::Table,
};

pub(super) fn all(raw: &[Spanned<Table<raw::Fault>>], end: Duration, servers: &Servers) -> Result<Vec<Fault>, Problem> {
    raw.iter().map(|fault| one(fault, end, servers)).collect()
}

fn one(raw: &Spanned<Table<raw::Fault>>, end: Duration, servers: &Servers) -> Result<Fault, Problem> {
    let (table, raw) = (raw.span(), raw.get_ref());
    let kind = required(raw.kind.as_ref(), Some(table.clone()), "kind = \"crash\"")?.read()?.0;
    refuse_strangers(raw, kind)?;
    Ok(Fault {
        at: start(required(raw.at.as_ref(), Some(table.clone()), "at = \"25s\"")?, end)?,
        targets: targets(raw, &table, kind, servers.replicas)?,
        kind: with_parameters(raw, &table, kind, servers)?,
    })
}

fn start(at: &Setting<Duration>, end: Duration) -> Result<Duration, Problem> {
    let start = at.within(&limits::WAIT)?;
    if start > end {
        let end = crate::scenario::duration::text(end);
        return Err(Problem::at(at.span(), format!("the scenario is over after {end}, before this fault starts"))
            .help("start it earlier, or lengthen the scenario's `duration`"));
    }
    Ok(start)
}

/// The parameters that faults of this kind take besides `at` and `target`.
fn parameters(kind: FaultName) -> &'static [&'static str] {
    match kind {
        FaultName::Crash => &["restart_after"],
        FaultName::Freeze => &["duration"],
        FaultName::Delay => &["latency", "jitter", "duration"],
        FaultName::Partition => &["direction", "duration"],
        FaultName::Loss | FaultName::Bandwidth => &["rate", "duration"],
        FaultName::Reset => &[],
        FaultName::Errors => &["rate", "status", "duration"],
        FaultName::Slow => &["factor", "duration"],
    }
}

fn refuse_strangers(raw: &raw::Fault, kind: FaultName) -> Result<(), Problem> {
    let given: [(&str, Option<Span>); 8] = [
        ("duration", raw.duration.as_ref().map(Setting::span)),
        ("restart_after", raw.restart_after.as_ref().map(Setting::span)),
        ("latency", raw.latency.as_ref().map(Setting::span)),
        ("jitter", raw.jitter.as_ref().map(Setting::span)),
        ("direction", raw.direction.as_ref().map(Setting::span)),
        ("rate", raw.rate.as_ref().map(Setting::span)),
        ("status", raw.status.as_ref().map(Setting::span)),
        ("factor", raw.factor.as_ref().map(Setting::span)),
    ];
    let taken = parameters(kind);
    for (parameter, span) in given {
        if let Some(span) = span.filter(|_| !taken.contains(&parameter)) {
            let message = format!("a `{}` fault does not take `{parameter}`", kind.to_name());
            return Err(Problem::at(span, message).help(match taken {
                [] => "it takes `at` and `target` only".to_owned(),
                _ => format!("besides `at` and `target` it takes {}", backticked(taken)),
            }));
        }
    }
    Ok(())
}

fn with_parameters(raw: &raw::Fault, table: &Span, kind: FaultName, servers: &Servers) -> Result<FaultKind, Problem> {
    let duration = raw.duration.as_ref().map(|setting| setting.within(&limits::DURATION)).transpose()?;
    Ok(match kind {
        FaultName::Crash => FaultKind::Crash {
            restart_after: match &raw.restart_after {
                Some(setting) => Some(setting.within(&limits::WAIT)?),
                None => servers.restart_after,
            },
        },
        FaultName::Freeze => FaultKind::Freeze { duration },
        FaultName::Delay => FaultKind::Delay {
            latency: required(raw.latency.as_ref(), Some(table.clone()), "latency = \"200ms\"")?
                .within(&limits::WAIT)?,
            jitter: within_or(raw.jitter.as_ref(), &limits::WAIT, Duration::ZERO)?,
            duration,
        },
        FaultName::Partition => {
            let direction = read_or(raw.direction.as_ref(), Choice(Direction::Both))?.0;
            FaultKind::Partition { direction, duration }
        }
        FaultName::Loss => {
            let rate = required(raw.rate.as_ref(), Some(table.clone()), "rate = 0.05")?;
            let rate = rate.retyped().within(&limits::SHARE).map_err(|problem| {
                problem.help("the `rate` of a loss is the share of segments that are lost: for 5 % write 0.05")
            })?;
            FaultKind::Loss { rate, duration }
        }
        FaultName::Bandwidth => {
            let rate = required(raw.rate.as_ref(), Some(table.clone()), "rate = \"1mbit\"")?;
            FaultKind::Bandwidth { rate: bit_rate(&rate.retyped())?, duration }
        }
        FaultName::Reset => FaultKind::Reset,
        FaultName::Errors => {
            let rate = required(raw.rate.as_ref(), Some(table.clone()), "rate = 0.5")?;
            let rate = rate.retyped().within(&limits::SHARE).map_err(|problem| {
                problem.help("the `rate` of errors is the share of calls that fail: for 50 % write 0.5")
            })?;
            FaultKind::Errors { rate, status: failure_status(raw.status.as_ref())?, duration }
        }
        FaultName::Slow => {
            let factor = required(raw.factor.as_ref(), Some(table.clone()), "factor = 10.0")?;
            FaultKind::Slow { factor: factor.within(&limits::SLOW_FACTOR)?, duration }
        }
    })
}

fn targets(raw: &raw::Fault, table: &Span, kind: FaultName, replicas: usize) -> Result<Vec<usize>, Problem> {
    let setting = required(raw.target.as_ref(), Some(table.clone()), "target = \"server-0\"")?;
    if setting.is_text("*") {
        return if kind.is_of_the_link() { Ok((0..replicas).collect()) } else { Err(not_every_server(setting, kind)) };
    }
    let mut targets = Vec::new();
    for name in setting.read()?.0 {
        let index = server(&name, replicas)?;
        if targets.contains(&index) {
            let message = format!("`{}` is in the list already; leave one out", name.get_ref());
            return Err(Problem::at(name.span(), message));
        }
        targets.push(index);
    }
    if targets.is_empty() {
        return Err(Problem::at(setting.span(), "the list is empty; a fault hits at least one server"));
    }
    targets.sort_unstable();
    Ok(targets)
}

fn not_every_server(setting: &Setting<OneOrMore>, kind: FaultName) -> Problem {
    let links: Vec<_> =
        FaultName::NAMES.iter().filter(|(kind, _)| kind.is_of_the_link()).map(|(_, name)| *name).collect();
    let message = format!("a `{}` fault cannot have the target `*`; list the servers instead", kind.to_name());
    Problem::at(setting.span(), message).help(format!("`*` is every link, for {}", backticked(&links)))
}

fn server(name: &Spanned<String>, replicas: usize) -> Result<usize, Problem> {
    let text = name.get_ref();
    let servers: Vec<_> = (0..replicas).map(server_name).collect();
    if let Some(index) = servers.iter().position(|server| server == text) {
        return Ok(index);
    }
    if text == "*" {
        return Err(Problem::at(name.span(), "`*` stands for all and cannot be in a list; write target = \"*\""));
    }
    let message = format!("there is no server `{text}`");
    // Another number is as near as any: only a misspelt word is worth a guess.
    let guess = nearest(text, servers.iter().map(String::as_str)).filter(|_| !text.starts_with("server-"));
    let problem =
        Problem::at(name.span(), guess.map_or(message.clone(), |guess| format!("{message}; did you mean `{guess}`?")));
    Err(problem.help(match servers.as_slice() {
        [only] => format!("[servers] replicas = 1 makes `{only}` the only one"),
        [.., last] if servers.len() > 8 => format!("[servers] replicas = {replicas} makes `server-0` to `{last}`"),
        _ => format!("[servers] replicas = {replicas} makes {}", backticked(&servers)),
    }))
}
