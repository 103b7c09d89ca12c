//! What an event says to someone who watches.

use kernel::record::{Event, EventRow};

/// A thing that happened, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) at_us: u64,
    pub(super) tone: Tone,
    pub(super) line: String,
}

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// A fault begins.
    Fault,
    /// Something is as it was again.
    Relief,
    /// The client thinks ill of a server, or has given up on a request.
    Trouble,
    /// A decision that is meant to help.
    Remedy,
}

/// `None` if it is a detail.
pub(super) fn of(row: &EventRow) -> Option<News> {
    let source = &row.source;
    let target = row.target.as_deref().unwrap_or_default();
    let cause = row.cause.as_deref().unwrap_or_default();
    let request = row.request.unwrap_or_default();
    let (tone, line) = match row.event {
        Event::FaultStart => (Tone::Fault, format!("{source}: {cause} {target}")),
        Event::FaultEnd => (Tone::Relief, format!("{source}: {cause} {target} is over")),
        Event::NoEffect => (Tone::Trouble, format!("{source}: no effect on {target}: {cause}")),
        Event::Restart => (Tone::Remedy, format!("{source}: restart {target}")),
        Event::Listening => (Tone::Relief, format!("{source}: listens")),
        Event::Unhealthy => (Tone::Trouble, format!("{source}: {target} is unhealthy: {cause}")),
        Event::Healthy => (Tone::Relief, format!("{source}: {target} is healthy")),
        Event::Failover => (Tone::Remedy, format!("{source}: request {request} fails over to {target}")),
        Event::BreakerOpened if target.is_empty() => (Tone::Trouble, format!("{source}: the breaker opens: {cause}")),
        Event::BreakerOpened => (Tone::Trouble, format!("{source}: the breaker to {target} opens: {cause}")),
        Event::BreakerClosed if target.is_empty() => (Tone::Relief, format!("{source}: the breaker closes")),
        Event::BreakerClosed => (Tone::Relief, format!("{source}: the breaker to {target} closes")),
        Event::Ejected => (Tone::Trouble, format!("{source}: {target} is ejected: {cause}")),
        Event::Unejected => (Tone::Relief, format!("{source}: {target} is let in again")),
        Event::GiveUp => (Tone::Trouble, format!("{source}: request {request} is given up: {cause}")),
        _ => return None,
    };
    Some(News { at_us: row.at_us, tone, line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::event;

    #[test]
    fn faults_and_beliefs_are_news_and_picks_are_not() {
        let said = |source, kind, cause| of(&event(0, source, kind, "server-0", cause)).map(|news| news.line);
        assert_eq!(said("nemesis", Event::FaultStart, "crash").as_deref(), Some("nemesis: crash server-0"));
        assert_eq!(
            said("client", Event::Unhealthy, "connection reset").as_deref(),
            Some("client: server-0 is unhealthy: connection reset")
        );
        assert_eq!(said("client", Event::Pick, ""), None);
    }
}
