//! `[[slo]]`: objectives of a service, whose alert rules are generated and evaluated.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use super::burn::{AlertRule, SHORTEST};
use crate::{
    export::family::LATENCY_BOUNDS_US,
    load::KindName,
    record::{Name, RequestRow},
    settings::{
        duration, limits,
        name::{admits, rule, schema},
        named::named,
        problem::{Problem, Problems},
        table::{TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys},
        toml_writer::TomlWriter,
        value::{Codec, Item},
    },
};

/// The most objectives of a scenario.
pub const SLOS_MAX: usize = 20;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The window of an objective: up to a year.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * DAY.as_secs());

/// The scrapes that the shortest window of a rule has at least. A rate needs two, and one may be late.
const SCRAPES_MIN: u32 = 4;

/// The most scrapes, and the most evaluations, of a run.
const INSTANTS_MAX: u128 = 1_000_000;

/// A service-level objective: a share of requests that is good, over a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// The name, which no other one has.
    pub name: String,
    /// The share of good requests, over 0 and below 1.
    pub objective: f64,
    /// The rule by which a request is good.
    pub kind: SloKind,
    /// The latency up to which a request is good, one of the bounds of the exported histograms; `None` for availability.
    pub threshold: Option<Duration>,
    /// The kind of requests that count, by its name in `[[load.request]]`; `None` for all.
    pub request: Option<String>,
    /// The window over which the objective holds, and with which those of its rules are scaled.
    pub window: Duration,
    /// How long the condition of a rule holds before its alert fires; 0 for at once.
    pub hold: Duration,
    /// The time between two scrapes.
    pub scrape_interval: Duration,
    /// The time between two evaluations of the rules.
    pub evaluation_interval: Duration,
}

/// The subject of an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SloKind {
    /// All intended requests, of which those with the status OK are good.
    Availability,
    /// The requests with the status OK, of which those up to a latency are good.
    Latency,
}

named!(SloKind, "a kind of objectives", ["success_rate" => "availability", "errors" => "availability", "duration" => "latency"]);

keys! {
    /// The name of the objective, the label `slo` of its alerts.
    const NAME = name: SloName [required] = "availability".to_owned(), (), NOT_DRAWN;
    /// The share of requests that has to be good: 0.995 for 99.5 %.
    const OBJECTIVE = objective: Objective [required] = 0.995, (), NOT_DRAWN;
    /// The rule by which a request is good: the status OK, or a latency of up to `threshold`, which counts requests with the status OK
    /// alone.
    const KIND = kind: SloKind = SloKind::Availability, (), NOT_DRAWN;
    /// The latency from the intended start up to which a request is good: a bound of the exported histograms. Only of `latency`, which needs it.
    const THRESHOLD = threshold: Option<Threshold> = None, (), NOT_DRAWN;
    /// The kind of requests that count, by its name in `[[load.request]]`; without it all do.
    const REQUEST = request: Option<KindName> = None, (), NOT_DRAWN;
    /// The window over which the objective holds, such as `"30d"`. The windows of its rules are parts of it: of 30 days 1 h and 5 min, 6 h and
    /// 30 min, 3 days and 6 h. A run of minutes needs a shorter one: of 12 h they are 1 min and 5 s, 6 min and 30 s, 72 min and 6 min.
    const WINDOW_KEY = window: Window = Duration::from_secs(30 * DAY.as_secs()), (), NOT_DRAWN;
    /// How long the condition of a rule holds before its alert fires.
    const FOR = for: Duration = Duration::ZERO, limits::WAIT, NOT_DRAWN;
    /// The time between two scrapes. The shortest window of a rule, an 8,640th of `window`, has at least four.
    const SCRAPE_INTERVAL = scrape_interval: Interval = Duration::from_secs(1), (), NOT_DRAWN;
    /// The time between two evaluations of the rules.
    const EVALUATION_INTERVAL = evaluation_interval: Interval = Duration::from_secs(1), (), NOT_DRAWN;
}

impl Slo {
    /// The declaration of `[[slo]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[slo]]`: an objective, from which alert rules are generated. It changes nothing in a run.",
        keys: &[
            &NAME,
            &OBJECTIVE,
            &KIND,
            &THRESHOLD,
            &REQUEST,
            &WINDOW_KEY,
            &FOR,
            &SCRAPE_INTERVAL,
            &EVALUATION_INTERVAL,
        ],
        ..TableInfo::EMPTY
    };

    /// Reads one item of `[[slo]]` of a run that offers load for `run`, if that is known.
    fn read(item: &TableReader<'_, '_>, run: Option<Duration>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let name = problems.keep(NAME.read(item));
        let objective = problems.keep(OBJECTIVE.read(item));
        let kind = problems.keep(KIND.read(item));
        let threshold = problems.keep(THRESHOLD.read(item));
        let request = problems.keep(REQUEST.read(item));
        let window = problems.keep(WINDOW_KEY.read(item));
        let hold = problems.keep(FOR.read(item));
        let scrape_interval = problems.keep(SCRAPE_INTERVAL.read(item));
        let evaluation_interval = problems.keep(EVALUATION_INTERVAL.read(item));
        let (Some(name), Some(objective), Some(kind), Some(threshold), Some(request)) =
            (name, objective, kind, threshold, request)
        else {
            return Err(problems);
        };
        let (Some(window), Some(hold), Some(scrape_interval), Some(evaluation_interval)) =
            (window, hold, scrape_interval, evaluation_interval)
        else {
            return Err(problems);
        };
        let slo =
            Self { name, objective, kind, threshold, request, window, hold, scrape_interval, evaluation_interval };
        problems.keep(slo.has_its_threshold(item));
        problems.keep(slo.has_scrapes(item));
        problems.keep(slo.has_few_instants(item, run));
        if problems.is_empty() { Ok(slo) } else { Err(problems) }
    }

    fn has_its_threshold(&self, item: &TableReader<'_, '_>) -> Result<(), Problem> {
        match (self.kind, item.span(THRESHOLD.name)) {
            (SloKind::Latency, None) => {
                let message = format!("the objective `{}` of kind \"latency\" has no `threshold`", self.name);
                Err(Problem::new(item.own_span(), message)
                    .missing(THRESHOLD.name)
                    .help("write, for example: threshold = \"250ms\""))
            }
            (SloKind::Availability, Some(span)) => {
                Err(Problem::at(span, "`threshold` is of objectives with kind = \"latency\"")
                    .help("leave it out, or write kind = \"latency\""))
            }
            _ => Ok(()),
        }
    }

    fn has_scrapes(&self, item: &TableReader<'_, '_>) -> Result<(), Problem> {
        let scrapes = SCRAPES_MIN * self.scrape_interval;
        let shortest = self.shortest();
        if shortest >= scrapes {
            return Ok(());
        }
        let span = item.span(WINDOW_KEY.name).or(item.span(SCRAPE_INTERVAL.name)).or(item.own_span());
        let message = format!(
            "the shortest window of a rule, an {SHORTEST}th of `window`, would be {} long, and {SCRAPES_MIN} scrapes of `scrape_interval` \
             take {}",
            duration::text(shortest),
            duration::text(scrapes),
        );
        let help = format!(
            "make `window` {} or longer, or `scrape_interval` {} or shorter",
            duration::text(SHORTEST * scrapes),
            duration::text(Duration::from_millis((shortest.as_millis() / u128::from(SCRAPES_MIN)).max(1) as u64)),
        );
        Err(Problem::new(span, message).help(help))
    }

    fn has_few_instants(&self, item: &TableReader<'_, '_>, run: Option<Duration>) -> Result<(), Problem> {
        let Some((key, message)) = self.too_many_instants(run.unwrap_or_default()) else { return Ok(()) };
        Err(Problem::new(item.span(key).or(item.own_span()), message).help("make it longer"))
    }

    /// Returns the key of the interval that would give a run of this length too many instants, and what is wrong with it.
    pub fn too_many_instants(&self, run: Duration) -> Option<(&'static str, String)> {
        let intervals =
            [(SCRAPE_INTERVAL.name, self.scrape_interval), (EVALUATION_INTERVAL.name, self.evaluation_interval)];
        intervals.into_iter().find_map(|(key, interval)| {
            let count = run.as_nanos() / interval.as_nanos();
            let message = format!(
                "`{key}` of `{}` gives {count} instants in this run; allowed are up to {INSTANTS_MAX}",
                self.name
            );
            (count > INSTANTS_MAX).then_some((key, message))
        })
    }

    /// Writes the keys of one item of `[[slo]]`.
    pub(crate) fn write_keys(&self, toml: &mut TomlWriter) {
        NAME.write(toml, &self.name);
        OBJECTIVE.write(toml, &self.objective);
        KIND.write(toml, &self.kind);
        THRESHOLD.write(toml, &self.threshold);
        REQUEST.write(toml, &self.request);
        WINDOW_KEY.write(toml, &self.window);
        FOR.write(toml, &self.hold);
        SCRAPE_INTERVAL.write(toml, &self.scrape_interval);
        EVALUATION_INTERVAL.write(toml, &self.evaluation_interval);
    }

    /// Returns the share of requests that may be bad, to nine decimals.
    pub fn error_budget(&self) -> f64 {
        // The difference alone has the digits of the rounded objective, which would be written into rules.
        ((1.0 - self.objective) * 1e9).round() / 1e9
    }

    /// Returns the alert rules, the fastest first.
    pub fn rules(&self) -> [AlertRule; 3] {
        AlertRule::for_objective(self)
    }

    /// Returns the shortest window of a rule.
    fn shortest(&self) -> Duration {
        super::burn::part(self.window, SHORTEST)
    }

    /// Returns whether a request is good; `None` if it does not count.
    pub fn is_good(&self, row: &RequestRow) -> Option<bool> {
        if self.request.as_deref().is_some_and(|request| row.kind.as_ref().map(Name::as_str) != Some(request)) {
            return None;
        }
        match self.threshold {
            None => Some(row.status.is_success()),
            Some(threshold) => {
                let latency = row.latency_us.filter(|_| row.status.is_success())?;
                Some(u128::from(latency) <= threshold.as_micros())
            }
        }
    }

    /// Returns a sentence for each rule that can never fire.
    pub fn warnings(&self) -> Vec<String> {
        let dead = self.rules().into_iter().filter(|rule| !rule.can_fire(self));
        let sentence = |rule: AlertRule| {
            format!(
                "the rule `{}` of the objective `{}` can never fire: {} times its error budget of {} % is over 100 %",
                rule.name,
                self.name,
                rule.burn_rate,
                self.error_budget() * 100.0,
            )
        };
        dead.map(sentence).collect()
    }

    /// Returns an objective for tests: 99.5 % availability.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            name: "availability".to_owned(),
            objective: 0.995,
            kind: SloKind::Availability,
            threshold: None,
            request: None,
            window: DAY / 2,
            hold: Duration::ZERO,
            scrape_interval: Duration::from_secs(1),
            evaluation_interval: Duration::from_secs(1),
        }
    }
}

/// Reads the list `[[slo]]` of `file`, a scenario whose load lasts for `run`, if that is known.
///
/// # Errors
///
/// Returns the problems of every item, and each name that is there already.
pub(crate) fn read_all(file: &TableReader<'_, '_>, run: Option<Duration>) -> Result<Vec<Slo>, Problems> {
    let items = file.list("slo", SLOS_MAX)?;
    let mut problems = Problems::default();
    let read = problems.keep_all(items.iter().map(|item| Slo::read(item, run)));
    let Some(slos) = read else { return Err(problems) };
    let mut names = BTreeSet::new();
    for (slo, item) in slos.iter().zip(&items) {
        if !names.insert(&slo.name) {
            let message = format!("there is an objective `{}` already", slo.name);
            problems.push(Problem::new(item.span(NAME.name), message).help("give it a name of its own"));
        }
    }
    if problems.is_empty() { Ok(slos) } else { Err(problems) }
}

/// The name of an objective, which becomes a label.
struct SloName;

impl Codec for SloName {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "name".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        let name = String::read(item, &())?;
        if !name.is_empty() && name.len() <= limits::NAME_LEN_MAX && name.chars().all(admits) {
            return Ok(name);
        }
        let message = format!("{name:?} is no name of an objective");
        Err(Problem::at(item.span(), message).help(format!("a name has {}", rule())))
    }

    fn written(value: &String) -> Option<String> {
        String::written(value)
    }

    fn schema((): &()) -> Value {
        schema()
    }

    fn limits_text((): &()) -> Option<String> {
        Some(rule())
    }
}

/// A share of good requests: over 0, and below 1, at which there is no error budget.
struct Objective;

impl Codec for Objective {
    type Target = f64;
    type Limits = ();

    fn type_name() -> String {
        "share".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<f64, Problem> {
        let objective = f64::read(item, &limits::AMOUNT)?;
        if (1e-9..=1.0 - 1e-9).contains(&objective) {
            return Ok(objective);
        }
        let (message, help) = if objective > 1.0 && objective < 100.0 {
            (
                format!("{objective} is out of range; an objective is a share below 1"),
                format!("for {objective} % write {}", objective / 100.0),
            )
        } else if objective >= 1.0 {
            let help = "lower it, such as to 0.999: some requests fail in every service, and the rules count how many of those allowed have";
            ("an objective of 100 % or more has no error budget that an alert could watch".to_owned(), help.to_owned())
        } else {
            ("the objective is out of range; it is over 0 and below 1".to_owned(), "for 99.5 % write 0.995".to_owned())
        };
        Err(Problem::at(item.span(), message).help(help))
    }

    fn written(value: &f64) -> Option<String> {
        f64::written(value)
    }

    fn schema((): &()) -> Value {
        json!({ "type": "number", "minimum": 1e-9, "maximum": 1.0 - 1e-9 })
    }

    fn limits_text((): &()) -> Option<String> {
        Some("over 0, below 1".to_owned())
    }
}

/// A latency that is a bound of the exported histograms, as rules can only count those.
struct Threshold;

impl Threshold {
    /// Returns the bounds: all but 0.
    fn bounds() -> impl DoubleEndedIterator<Item = Duration> {
        LATENCY_BOUNDS_US.iter().filter(|bound| **bound > 0).map(|bound| Duration::from_micros(*bound))
    }
}

impl Codec for Threshold {
    type Target = Duration;
    type Limits = ();

    fn type_name() -> String {
        "duration".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Duration, Problem> {
        let time = Duration::read(item, &limits::WAIT)?;
        if Self::bounds().any(|bound| bound == time) {
            return Ok(time);
        }
        let text = |bound: Duration| duration::text(bound);
        let near = [Self::bounds().rfind(|bound| *bound < time), Self::bounds().find(|bound| *bound > time)];
        let near: Vec<_> = near.into_iter().flatten().map(text).collect();
        let message = format!(
            "{} is no bound of the exported histograms, whose requests alone can be counted; next to it are {}",
            text(time),
            near.join(" and "),
        );
        let all: Vec<_> = Self::bounds().map(text).collect();
        Err(Problem::at(item.span(), message).help(format!("the bounds are {}", all.join(", "))))
    }

    fn written(value: &Duration) -> Option<String> {
        Duration::written(value)
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": duration::PATTERN })
    }

    fn limits_text((): &()) -> Option<String> {
        Some("a bound of the exported histograms".to_owned())
    }
}

/// The window of an objective, which may be in days.
struct Window;

impl Codec for Window {
    type Target = Duration;
    type Limits = ();

    fn type_name() -> String {
        "duration".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Duration, Problem> {
        let days = item.get_ref().as_str().and_then(|text| text.strip_suffix('d')).and_then(|days| days.parse().ok());
        let window = match days {
            Some(days) => DAY.saturating_mul(days),
            None => Duration::read(item, &(Duration::ZERO..=Duration::MAX))?,
        };
        if WINDOW.contains(&window) {
            return Ok(window);
        }
        let message = format!("the window is out of range; allowed is {}", Self::limits_text(&()).unwrap_or_default());
        Err(Problem::at(item.span(), message).help("write, for example: window = \"30d\""))
    }

    fn written(value: &Duration) -> Option<String> {
        Duration::written(value)
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": format!("^[0-9]+d$|{}", duration::PATTERN) })
    }

    fn limits_text((): &()) -> Option<String> {
        Some("1s to 366d".to_owned())
    }
}

/// The time between two scrapes or evaluations: whole milliseconds.
struct Interval;

impl Codec for Interval {
    type Target = Duration;
    type Limits = ();

    fn type_name() -> String {
        "duration".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Duration, Problem> {
        let time = Duration::read(item, &limits::INTERVAL)?;
        if time.subsec_nanos().is_multiple_of(1_000_000) {
            return Ok(time);
        }
        Err(Problem::at(
            item.span(),
            format!("{} has parts of a millisecond, which Prometheus has not", duration::text(time)),
        )
        .help("write whole milliseconds, such as \"500ms\""))
    }

    fn written(value: &Duration) -> Option<String> {
        Duration::written(value)
    }

    fn schema((): &()) -> Value {
        Duration::schema(&limits::INTERVAL)
    }

    fn limits_text((): &()) -> Option<String> {
        Duration::limits_text(&limits::INTERVAL).map(|limits| format!("{limits}, in whole milliseconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn parse(slos: &str) -> Result<Scenario, String> {
        let text = format!("name = \"short\"\nduration = \"10s\"\nload = {{ rate = 5 }}\n{slos}");
        Scenario::parse("short.toml", &text, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn an_objective_has_defaults_and_is_read_back() {
        let scenario = parse("[[slo]]\nname = \"a\"\nobjective = 0.999\n").unwrap();
        let [slo] = &scenario.slos[..] else { panic!() };
        assert_eq!((slo.kind, slo.window, slo.error_budget()), (SloKind::Availability, 30 * DAY, 0.001));
        assert_eq!(Scenario::parse("again.toml", &scenario.to_toml(), &[]).unwrap(), scenario);
        let latency = "[[slo]]\nname = \"l\"\nobjective = 0.95\nkind = \"latency\"\nthreshold = \"250ms\"\nwindow = \"7d\"\nfor = \"2s\"\n";
        let scenario = parse(latency).unwrap();
        assert_eq!((scenario.slos[0].window, scenario.slos[0].hold), (7 * DAY, Duration::from_secs(2)));
        assert_eq!(Scenario::parse("again.toml", &scenario.to_toml(), &[]).unwrap(), scenario);
    }

    #[test]
    fn a_scenario_without_objectives_is_written_without_them() {
        assert!(!parse("").unwrap().to_toml().contains("slo"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_its_remedy() {
        let head = "[[slo]]\nname = \"a\"\nobjective = ";
        for (slos, line, words) in [
            ("1.0\n", 6, ["100 % or more has no error budget", "lower it"]),
            ("100\n", 6, ["100 % or more has no error budget", "lower it"]),
            ("99.5\n", 6, ["a share below 1", "for 99.5 % write 0.995"]),
            ("0\n", 6, ["over 0 and below 1", "0.995"]),
            (
                "0.99\nwindow = \"1h\"\n",
                7,
                ["would be 417ms long, and 4 scrapes", "make `window` 9h36m or longer, or `scrape_interval` 104ms"],
            ),
            ("0.99\nwindow = \"0d\"\n", 7, ["the window is out of range", "30d"]),
            ("0.99\nkind = \"latency\"\n", 4, ["has no `threshold`", "threshold = \"250ms\""]),
            (
                "0.99\nkind = \"latency\"\nthreshold = \"275ms\"\n",
                8,
                ["275ms is no bound", "next to it are 250ms and 300ms"],
            ),
            ("0.99\nthreshold = \"250ms\"\n", 7, ["is of objectives with kind", "leave it out"]),
            ("0.99\nscrape_interval = \"1.5ms\"\n", 7, ["parts of a millisecond", "500ms"]),
            (
                "0.99\n[[slo]]\nname = \"a\"\nobjective = 0.9\n",
                8,
                ["there is an objective `a` already", "a name of its own"],
            ),
            ("0.99\n[[slo]]\nname = \"a b\"\nobjective = 0.9\n", 8, ["no name of an objective", "letters, digits"]),
        ] {
            let error = parse(&format!("{head}{slos}")).unwrap_err();
            assert!(error.contains(&format!("short.toml:{line}")), "{error}");
            words.iter().for_each(|words| assert!(error.contains(words), "{words}: {error}"));
        }
    }

    #[test]
    fn a_rule_that_can_never_fire_is_a_warning() {
        let scenario = parse("[[slo]]\nname = \"a\"\nobjective = 0.9\n").unwrap();
        let warnings = scenario.warnings();
        assert!(warnings[0].contains("the rule `fast` of the objective `a` can never fire"), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
    }
}
