//! `[[change]]`: a setting that changes while the run goes on.
//!
//! A change is `--set` at a time: `setting` is a key as `--set` takes it, and `to` its value. What it changes to is read as a file
//! with that value is, so that types, bounds and the rules between keys are the same, and so are the messages.
//!
//! [`Scenario::epochs`] has the settings that are in force from each change on. Both worlds play them, and the invariants check by
//! them. Changes of the load are stages: [`Scenario::offered_load`] has the schedule of arrivals with them.

mod changeable;

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use toml::de::DeValue;

use super::{
    Load, Scenario, Shape, Stage, limits,
    read::{self, Purpose},
};
use crate::{
    load::settings::Rate,
    settings::{
        duration,
        problem::{Problem, Problems},
        source::{Source, Span},
        table::{KeyInfo, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys},
        toml_writer::{TomlWriter, string},
        value::{Codec, Item, wrong_type},
    },
};

pub use changeable::{ChangeTarget, changeable};

/// `[[change]]`: a setting that has another value from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The time of the change, from the start of the run and before its end.
    pub at: Duration,
    /// The key, as `--set` takes it.
    pub setting: String,
    /// The value before the change, as TOML; `None` if the key is left out.
    pub from: Option<String>,
    /// The value after the change, as TOML.
    pub to: String,
}

keys! {
    /// When the setting changes, from the start of the run; before the end of the scenario's `duration`.
    const AT = at: Duration [required] = Duration::from_secs(20), limits::WAIT, NOT_DRAWN;
    /// The key of the setting, as `--set` takes it: one of those that can change in a run.
    const SETTING = setting: String [required] = "client.retry.max_attempts".to_owned(), (), NOT_DRAWN;
    /// The value that it has from then on.
    const TO = to: AnyValue [required] = "1".to_owned(), (), NOT_DRAWN;
}

/// The TOML of a value, whatever its type.
struct AnyValue;

impl Codec for AnyValue {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "that of the setting".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        toml_of(item).map_or_else(|| wrong_type(item, "the value of one setting"), Ok)
    }

    fn written(value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn schema((): &()) -> Value {
        json!({ "type": ["string", "number", "boolean", "array"] })
    }
}

/// Returns the TOML of a value on one line; `None` of a table or a date.
fn toml_of(item: &Item<'_>) -> Option<String> {
    Some(match item.get_ref() {
        DeValue::String(text) => string(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(toml_of).collect();
            format!("[{}]", items?.join(", "))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

/// The settings that are in force from a time on.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// The time at which it begins, from the start of the run.
    pub at: Duration,
    /// The change that it begins with; `None` for the start of the run.
    pub change: Option<Change>,
    /// The scenario with the settings of that time, without faults, changes and expectations.
    pub settings: Scenario,
}

impl Change {
    /// The declaration of `[[change]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[change]]`: a setting that has another value from a time on.",
        keys: &[&AT as &dyn KeyInfo, &SETTING, &TO],
        ..TableInfo::EMPTY
    };

    /// Returns what the setting belongs to.
    pub fn target(&self) -> ChangeTarget {
        ChangeTarget::for_setting(&self.setting)
    }

    /// Writes the keys of one item of `[[change]]`.
    pub(crate) fn write_keys(&self, toml: &mut TomlWriter) {
        AT.write(toml, &self.at);
        SETTING.write(toml, &self.setting);
        TO.write(toml, &self.to);
    }

    /// Returns the change in words, as events have it: `client.retry.max_attempts from 3 to 1`.
    pub fn description(&self) -> String {
        format!("{} from {} to {}", self.setting, self.from.as_deref().unwrap_or("nothing"), self.to)
    }
}

/// Reads the list `[[change]]` of `file`, whose other settings are those of `base`. A change that is wrong is left out of what the later
/// ones start from.
pub(super) fn read_all(file: &TableReader<'_, '_>, base: &Scenario) -> Result<Vec<Change>, Problems> {
    let items = file.list("change", limits::CHANGES_MAX)?;
    let mut problems = Problems::default();
    let read = problems.keep_all(items.iter().map(|item| read_keys(item, base.duration)));
    let Some(mut changes) = read else { return Err(problems) };
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|index| changes[*index].at);
    let mut settings = base.without_script();
    for (place, index) in order.iter().enumerate() {
        let Change { at, setting, .. } = &changes[*index];
        let is_same = |other: &&usize| changes[**other].at == *at && changes[**other].setting == *setting;
        let result = match order[..place].iter().find(is_same) {
            Some(_) => Err(twice(&items[*index], setting, *at)),
            None => settings.with_change(&changes[*index], items[*index].span(TO.name)),
        };
        if let Some((after, from, to)) = problems.keep(result) {
            settings = after;
            changes[*index].from = from;
            changes[*index].to = to;
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(problems) }
}

/// Reads the keys of one item.
fn read_keys(item: &TableReader<'_, '_>, end: Duration) -> Result<Change, Problems> {
    let mut problems = Problems::default();
    let at = problems.keep(AT.read(item).and_then(|at| before_end(item, at, end)));
    let setting = SETTING.read(item).and_then(|setting| {
        let span = item.span(SETTING.name);
        changeable::check(&setting).map_err(|(message, help)| Problem::new(span, message).help(help))?;
        Ok(setting)
    });
    let setting = problems.keep(setting);
    let to = problems.keep(TO.read(item));
    match (at, setting, to) {
        (Some(at), Some(setting), Some(to)) => Ok(Change { at, setting, from: None, to }),
        _ => Err(problems),
    }
}

fn before_end(item: &TableReader<'_, '_>, at: Duration, end: Duration) -> Result<Duration, Problem> {
    if at < end {
        return Ok(at);
    }
    let message = format!("the scenario is over after {}, before this setting changes", duration::text(end));
    Err(Problem::new(item.span(AT.name), message).help("change it earlier, or lengthen the scenario's `duration`"))
}

fn twice(item: &TableReader<'_, '_>, setting: &str, at: Duration) -> Problem {
    let message =
        format!("`{setting}` changes at {} already; two values at one time have no order", duration::text(at));
    Problem::new(item.span(SETTING.name), message).help("leave one of them out, or give it another `at`")
}

impl Scenario {
    /// Returns the settings alone.
    fn without_script(&self) -> Self {
        let mut settings = self.clone();
        (settings.question, settings.nemesis) = (None, None);
        (settings.faults, settings.changes, settings.expectations) = (Vec::new(), Vec::new(), Vec::new());
        settings.slos = Vec::new();
        settings
    }

    /// Returns the scenario after `change`, whose value is at `span`, and the TOML of the setting before and after.
    fn with_change(&self, change: &Change, span: Option<Span>) -> Result<(Self, Option<String>, String), Problem> {
        let Change { setting, to, .. } = change;
        let before = self.to_toml();
        if let Some((message, help)) = changeable::absent(self, setting, &before) {
            return Err(Problem::new(span, message).help(help));
        }
        let from = changeable::value_of(&before, setting);
        if change.target() == ChangeTarget::Load {
            let to = load_value(setting, to).map_err(|problem| problem.moved_to(span))?;
            return Ok((self.with_load(setting, &to), from, to));
        }
        let overrides = [format!("{setting}={to}")];
        let source = Source::new("change", &before, &overrides);
        let read = read::read(&source, &overrides, Path::new(""), Purpose::Change);
        let after = read.map_err(|mut problems| problems.swap_remove(0).into_problem().moved_to(span))?;
        let to = changeable::value_of(&after.to_toml(), setting).unwrap_or_else(|| to.clone());
        Ok((after, from, to))
    }

    /// Returns the scenario with another value of a setting that can change in a run, and the change.
    ///
    /// # Errors
    ///
    /// Returns what is wrong, and what would be right, on one line.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let scenario = Scenario::parse("short.toml", "name = \"short\"\nduration = \"10s\"\nload = { rate = 5 }\n", &[])?;
    /// let (after, change) = scenario.with_setting("servers.queue", "9").unwrap();
    /// assert_eq!((after.servers.queue, change.description()), (9, "servers.queue from 64 to 9".to_owned()));
    /// assert!(scenario.with_setting("servers.replicas", "9").is_err());
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn with_setting(&self, setting: &str, to: &str) -> Result<(Self, Change), String> {
        changeable::check(setting).map_err(|(message, help)| format!("{message}; {help}"))?;
        let mut change = Change { at: Duration::ZERO, setting: setting.to_owned(), from: None, to: to.to_owned() };
        let (after, from, to) = self.without_script().with_change(&change, None).map_err(Problem::into_text)?;
        (change.from, change.to) = (from, to);
        Ok((after, change))
    }

    /// Returns the scenario with another value of a setting of the load.
    fn with_load(&self, setting: &str, to: &str) -> Self {
        let mut after = self.clone();
        match setting {
            "load.users" => after.load.users = to.parse().ok(),
            _ => after.load.rate = to.parse().unwrap_or(after.load.rate),
        }
        after
    }

    /// Returns the settings over time: those of the start, and those from each change on, in order of time. Changes of one time are in
    /// the order of the file.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let text = "name = \"short\"\nduration = \"10s\"\nload = { rate = 5 }\n\
    ///     change = [{ at = \"4s\", setting = \"client.retry.max_attempts\", to = 1 }]\n";
    /// let scenario = Scenario::parse("short.toml", text, &[])?;
    /// let attempts: Vec<_> = scenario.epochs().iter().map(|epoch| epoch.settings.client.retry.max_attempts).collect();
    /// assert_eq!(attempts, [3, 1]);
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn epochs(&self) -> Vec<Epoch> {
        let mut settings = self.without_script();
        let mut epochs = vec![Epoch { at: Duration::ZERO, change: None, settings: settings.clone() }];
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        order.sort_by_key(|index| self.changes[*index].at);
        for index in order {
            let change = &self.changes[index];
            // A scenario that was read has no other; one that was put together may have a change that does not fit it.
            if let Ok((after, ..)) = settings.with_change(change, None) {
                settings = after;
                epochs.push(Epoch { at: change.at, change: Some(change.clone()), settings: settings.clone() });
            }
        }
        epochs
    }

    /// Returns the load with its changes, which are steps of it.
    pub fn offered_load(&self) -> Load {
        let mut load = self.load.clone();
        let changes: Vec<&Change> =
            self.changes.iter().filter(|change| change.target() == ChangeTarget::Load).collect();
        if changes.is_empty() {
            return load;
        }
        let mut times: Vec<Duration> = changes.iter().map(|change| change.at).collect();
        times.sort_unstable();
        times.dedup();
        let value = |setting: &str, at: Duration| {
            changes.iter().find(|change| change.at == at && change.setting == setting).map(|change| change.to.as_str())
        };
        // A stage for the time before the first change, in which nothing changes, and one from each change to the next.
        let mut stage = Stage { duration: times[0], shape: Shape::Step, ..Stage::default() };
        for (place, at) in times.iter().enumerate() {
            if !stage.duration.is_zero() {
                load.stage.push(stage);
            }
            let until = times.get(place + 1).copied().unwrap_or(self.duration.max(*at));
            stage = Stage {
                duration: until - *at,
                rate: value("load.rate", *at).and_then(|rate| rate.parse().ok()),
                users: value("load.users", *at).and_then(|users| users.parse().ok()),
                shape: Shape::Step,
            };
        }
        load.stage.push(stage);
        load
    }
}

/// Reads a value of the load, and returns its canonical TOML.
fn load_value(setting: &str, to: &str) -> Result<String, Problem> {
    let item = DeValue::parse(to).map_err(|error| Problem::syntax(&error))?;
    let read = match setting {
        "load.users" => usize::read(&item, &limits::USERS).map(|users| usize::written(&users)),
        _ => Rate::read(&item, &()).map(|rate| Rate::written(&rate)),
    };
    read.map(Option::unwrap_or_default)
}
