//! `[load]`: when requests are sent.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    profile::{Change, Profile},
    request_kind::RequestKind,
    trace::{Gaps, Trace},
};
use crate::settings::{
    duration, limits,
    named::named,
    problem::Problem,
    table::TableReader,
    table_macro::{NOT_DRAWN, table},
    toml_writer::number,
    value::{Codec, Item},
};

table! {
    /// `[load]`: an open loop, which never waits for replies, and users, who do.
    Load {
        /// Requests per second at the start, and for the whole run without stages; it may be left out with `users`
        /// and with a trace.
        rate: f64 as Rate [required] = 5.0, (), NOT_DRAWN;
        /// How the requests are spread in time.
        arrivals: Arrivals = Arrivals::Constant, (), &["\"constant\"", "\"poisson\""];
        /// Calls in flight beyond which an arrival is recorded as dropped; those of users do not count.
        max_in_flight: usize = 512, limits::MAX_IN_FLIGHT, &["1", "5", "50", "512"];
        /// Users at the start: each calls, waits for the reply, thinks, and calls again.
        users: Option<usize> = None, limits::USERS, NOT_DRAWN;
        /// The mean time between the end of a user's call and the next one; `"1s"` with `users`.
        think_time: Option<Duration> = None, limits::INTERVAL, NOT_DRAWN;
        /// How think times vary; `"constant"` with `users`.
        think_time_distribution: Option<ThinkTime> = None, (), NOT_DRAWN;
        /// The file of a trace, relative to the scenario file: a time a line, in seconds or with a unit, from the start of the run; or
        /// `requests.jsonl` of a run.
        trace: Option<String> = None, (), NOT_DRAWN;
        /// The gaps of a trace, as the resolved scenario has them in place of `trace`.
        trace_us: Option<Trace> as Option<Gaps> = None, (), NOT_DRAWN;
        + lists {
            /// Changes of the load, one after the other.
            stage: Stage, limits::STAGES_MAX;
            /// Kinds of requests; without them all are alike.
            request: RequestKind, limits::REQUEST_KINDS_MAX;
        }
    }
    settle = settle;
}

table! {
    /// `[[load.stage]]`: a change of the load; the first stage begins with the run, each other one when the one before it ends.
    /// After the last one the load stays as it is.
    Stage {
        /// The length of the stage.
        duration: Duration [required] = Duration::from_secs(30), limits::DURATION, NOT_DRAWN;
        /// Requests per second at the end of the stage; without it the rate stays.
        rate: Option<f64> as Option<Rate> = None, (), NOT_DRAWN;
        /// Users at the end of the stage; without it they stay as many. One that goes completes the call that it has begun.
        users: Option<usize> = None, limits::USERS, NOT_DRAWN;
        /// `ramp` changes the load linearly over the stage, `step` at once at its start.
        shape: Shape = Shape::Ramp, (), NOT_DRAWN;
    }
}

impl Load {
    /// Returns constant arrivals at `rate` per second, with the other defaults.
    pub fn at(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Returns the rate over time, in requests per second.
    pub(crate) fn rate_profile(&self) -> Profile {
        self.profile(self.rate, |stage| stage.rate)
    }

    /// Returns the number of users over time.
    pub(crate) fn user_profile(&self) -> Profile {
        self.profile(self.users.unwrap_or(0) as f64, |stage| stage.users.map(|users| users as f64))
    }

    /// Returns the profile of a value that is `first` at the start and that the stages change.
    fn profile(&self, first: f64, to: impl Fn(&Stage) -> Option<f64>) -> Profile {
        let changes = self.stage.iter().map(|stage| Change {
            length: stage.duration.as_secs_f64(),
            to: to(stage),
            shape: stage.shape,
        });
        Profile::new(first, changes)
    }

    /// Returns true if the load is nothing but an open loop at one rate.
    pub fn is_plain(&self) -> bool {
        self.stage.is_empty() && self.users.is_none() && self.trace_us.is_none()
    }

    /// Returns the number of requests in the first `duration` of a run, on average if arrivals are random. Of users it is the
    /// number of those that they make if no call takes any time, which is the most.
    pub fn requests(&self, duration: Duration) -> f64 {
        let seconds = duration.as_secs_f64();
        let users = self.user_profile();
        let thinking = self.think_time.unwrap_or(DEFAULT_THINK_TIME).as_secs_f64();
        let arrivals = match &self.trace_us {
            Some(trace) => trace.count(duration) as f64,
            None => self.rate_profile().area(seconds),
        };
        arrivals + users.area(seconds) / thinking + users.peak(seconds)
    }

    /// Returns the highest rate in the first `duration` of a run, in requests per second; of a trace that of the busiest second.
    pub fn peak_rate(&self, duration: Duration) -> f64 {
        match &self.trace_us {
            Some(trace) => trace.peak(duration) as f64,
            None => self.rate_profile().peak(duration.as_secs_f64()),
        }
    }

    /// Returns the largest number of users in the first `duration` of a run.
    pub fn peak_users(&self, duration: Duration) -> f64 {
        self.user_profile().peak(duration.as_secs_f64())
    }

    /// Returns a sentence if a stage begins when the run of this `duration` is over.
    pub(crate) fn warnings(&self, duration: Duration) -> Vec<String> {
        let mut start = Duration::ZERO;
        for (index, stage) in self.stage.iter().enumerate() {
            if start >= duration {
                let start = duration::text(start);
                let end = duration::text(duration);
                return vec![format!("[[load.stage]] {index} would begin at {start}, and the run ends after {end}")];
            }
            start = start.saturating_add(stage.duration);
        }
        Vec::new()
    }

    /// Returns the load in a few words, such as `5 requests/s` or `up to 200 requests/s and 10 users`.
    pub fn description(&self, duration: Duration) -> String {
        let up_to = if self.stage.is_empty() && self.trace_us.is_none() { "" } else { "up to " };
        let rate = self.peak_rate(duration);
        let users = self.peak_users(duration);
        let loads = [(rate, "requests/s"), (users, "users")];
        let loads = loads.into_iter().filter(|(count, _)| *count > 0.0).map(|(count, what)| format!("{count} {what}"));
        format!("{up_to}{}", loads.collect::<Vec<_>>().join(" and "))
    }
}

/// The mean think time of users of whom the file does not say.
const DEFAULT_THINK_TIME: Duration = Duration::from_secs(1);

/// Gives users the think time that they have by default, and checks that there are users to think, and that at some time a
/// request is sent.
fn settle(mut load: Load, table: &TableReader<'_, '_>) -> Result<Load, Problem> {
    if load.users.is_some() || load.stage.iter().any(|stage| stage.users.is_some()) {
        load.users.get_or_insert(0);
        load.think_time.get_or_insert(DEFAULT_THINK_TIME);
        load.think_time_distribution.get_or_insert(ThinkTime::Constant);
    } else if let Some((key, span)) = table.first_of(&["think_time", "think_time_distribution"]) {
        let message = format!("`{key}` is of users, and there are none");
        return Err(Problem::at(span, message).help("add users = 10, or leave this out"));
    }
    if load.arrivals == Arrivals::Trace {
        check_trace(&load, table)?;
        return Ok(load);
    }
    // What is not replayed need not be kept.
    load.trace_us = None;
    let rates = load.stage.iter().filter_map(|stage| stage.rate).chain([load.rate]);
    let users = load.stage.iter().filter_map(|stage| stage.users).chain(load.users);
    if rates.fold(0.0, f64::max) > 0.0 || users.max() > Some(0) {
        return Ok(load);
    }
    let message = "nothing is ever sent: `rate` is 0, and there are no `users`, not in a [[load.stage]] either";
    Err(Problem::new(table.span("rate"), message)
        .help("raise `rate`, add `users`, or add a stage that has one of the two"))
}

/// Checks that a trace is all that there is of the open loop.
fn check_trace(load: &Load, table: &TableReader<'_, '_>) -> Result<(), Problem> {
    table.excludes("trace_us", "trace", "keep `trace`, which is read again, or `trace_us`, which has been read")?;
    if load.trace.is_none() && load.trace_us.is_none() {
        return Err(Problem::new(
            table.span("arrivals"),
            "arrivals = \"trace\" needs `trace`, the file with the times",
        )
        .help("write, for example: trace = \"times.txt\""));
    }
    let has_rate = load.rate > 0.0 || load.stage.iter().any(|stage| stage.rate.is_some());
    if has_rate {
        let span = table.span("rate").filter(|_| load.rate > 0.0).or(table.span("stage"));
        return Err(Problem::new(span, "`rate` and arrivals = \"trace\" exclude each other: the trace has the times")
            .help("leave `rate` out, here and in each [[load.stage]], or choose other arrivals"));
    }
    Ok(())
}

/// Requests per second, or 0 for none.
pub(crate) struct Rate;

impl Codec for Rate {
    type Target = f64;
    type Limits = ();

    fn type_name() -> String {
        "number".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<f64, Problem> {
        match f64::read(item, &(0.0..=0.0)) {
            // Not the value itself, which may be -0.
            Ok(_) => Ok(0.0),
            Err(_) => f64::read(item, &limits::RATE),
        }
    }

    fn written(value: &f64) -> Option<String> {
        Some(number(*value))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": limits::RATE.end() })
    }

    fn limits_text((): &()) -> Option<String> {
        f64::limits_text(&limits::RATE).map(|limits| format!("0, or {limits}"))
    }
}

/// The gaps between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Arrivals {
    /// Request `i` is intended when the integral of the rate is `i`: at `i / rate` without stages.
    Constant,
    /// Exponential gaps of mean `1 / rate`.
    Poisson,
    /// At the times of a file.
    Trace,
}

named!(Arrivals, "an arrival process");

/// The spread of users' think times around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ThinkTime {
    /// Every think time is the mean.
    Constant,
    /// Exponential think times.
    Exponential,
}

named!(ThinkTime, "a distribution of think times");

/// The way of a stage from one load to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Shape {
    /// Linearly over the stage.
    Ramp,
    /// At once, at the start of the stage.
    Step,
}

named!(Shape, "a shape of a stage");
