//! The line about an event, for the dashboard and for plain output.

use kernel::{
    detect::{AlarmChange, LiveAlarm},
    record::{Event, EventRow},
    visible::Visible,
};

/// An event of a run as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    /// Time of the run.
    pub(super) at_us: u64,
    /// Kind of the event, which decides its colour.
    pub(super) severity: Severity,
    /// Text without the time.
    pub(super) line: String,
}

/// The kind of an event, from a user's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// A fault begins.
    Fault,
    /// A fault ends, or a part works again.
    Recovered,
    /// A server is unhealthy, or a request has failed.
    Degraded,
    /// A server is restarted, or a request moves to another server.
    Action,
}

/// The line about an alarm of a detector.
pub(super) fn alarm(alarm: &LiveAlarm) -> News {
    let detector = alarm.detector;
    let (severity, line) = match alarm.change {
        AlarmChange::Raised => {
            (Severity::Degraded, format!("detector {detector}: alarm, {:.1} times its threshold", alarm.level))
        }
        AlarmChange::Ended => (Severity::Recovered, format!("detector {detector}: the alarm is over")),
    };
    News { at_us: alarm.at_us, severity, line }
}

/// The line about an event; `None` if the event is a detail.
pub(super) fn news(row: &EventRow) -> Option<News> {
    let source = row.source.visible();
    let target = row.target.as_deref().unwrap_or_default().visible().to_string();
    // A server writes the message of its status as it likes.
    let cause = row.cause.as_deref().unwrap_or_default().visible();
    let request = row.request.unwrap_or_default();
    let (severity, line) = match row.event {
        Event::FaultStart => (Severity::Fault, format!("{source}: {cause} {target}")),
        // A crash is lifted when the server listens, which is news of its own, or at once if nothing restarts it.
        Event::FaultEnd if row.cause.as_deref() == Some("crash") => return None,
        Event::FaultEnd => (Severity::Recovered, format!("{source}: {cause} {target} is over")),
        Event::NoEffect => (Severity::Degraded, format!("{source}: no effect on {target}: {cause}")),
        Event::SettingChanged => (Severity::Action, format!("{source}: {cause}")),
        Event::Restart => (Severity::Action, format!("{source}: restart {target}")),
        Event::Listening => (Severity::Recovered, format!("{source}: listens")),
        Event::Unhealthy => (Severity::Degraded, format!("{source}: {target} is unhealthy: {cause}")),
        Event::Healthy => (Severity::Recovered, format!("{source}: {target} is healthy")),
        Event::Failover => (Severity::Action, format!("{source}: request {request} fails over to {target}")),
        Event::BreakerOpened if target.is_empty() => {
            (Severity::Degraded, format!("{source}: the breaker opens: {cause}"))
        }
        Event::BreakerOpened => (Severity::Degraded, format!("{source}: the breaker to {target} opens: {cause}")),
        Event::BreakerClosed if target.is_empty() => (Severity::Recovered, format!("{source}: the breaker closes")),
        Event::BreakerClosed => (Severity::Recovered, format!("{source}: the breaker to {target} closes")),
        Event::Ejected => (Severity::Degraded, format!("{source}: {target} is ejected: {cause}")),
        Event::Unejected => (Severity::Recovered, format!("{source}: {target} is let in again")),
        Event::StoreLost => {
            (Severity::Degraded, format!("{source}: {target} is away: {cause}; calls go on without it"))
        }
        Event::StoreRestored => (Severity::Recovered, format!("{source}: {target} answers again")),
        Event::GiveUp => (Severity::Degraded, format!("{source}: request {request} is given up: {cause}")),
        _ => return None,
    };
    Some(News { at_us: row.at_us, severity, line })
}

#[cfg(test)]
mod tests {
    use kernel::detect::DetectorName;

    use super::*;
    use crate::live::board::sample::event;

    #[test]
    fn faults_and_health_are_news_and_picks_are_not() {
        let rows = [
            event(0, "nemesis", Event::FaultStart, "server-0", "crash"),
            event(0, "client", Event::Unhealthy, "server-0", "connection reset"),
            event(0, "client", Event::Pick, "server-0", ""),
        ];
        let [fault, unhealthy, pick] = rows.each_ref().map(|row| news(row).map(|news| news.line));
        assert_eq!(fault.as_deref(), Some("nemesis: crash server-0"));
        assert_eq!(unhealthy.as_deref(), Some("client: server-0 is unhealthy: connection reset"));
        assert_eq!(pick, None);
    }

    #[test]
    fn alarms_are_news() {
        let raised = LiveAlarm { at_us: 7, detector: DetectorName::Cusum, change: AlarmChange::Raised, level: 1.26 };
        assert_eq!(alarm(&raised).line, "detector cusum: alarm, 1.3 times its threshold");
        let ended = LiveAlarm { change: AlarmChange::Ended, ..raised };
        assert_eq!((alarm(&ended).line.as_str(), alarm(&ended).at_us), ("detector cusum: the alarm is over", 7));
    }
}
