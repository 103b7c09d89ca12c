//! The experiment of a document, on its way to a scenario.

use std::{fmt::Write as _, time::Duration};

use kernel::scenario::{Scenario, ScenarioError, duration, server_name};

use super::{
    labels::{Labels, Selected},
    node::Node,
    notes::{Note, Notes},
    table::Row,
    unit::quoted,
};

/// Replicas of a scenario whose document does not say how many there are.
const REPLICAS: usize = 3;

/// The shortest duration of a scenario, and the time after the last fault, in which a recovery can be seen.
const DURATION_MIN: Duration = Duration::from_secs(30);
const AFTERWARDS: Duration = Duration::from_secs(10);

/// The servers that a fault hits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Targets {
    All,
    /// The first of them.
    Count(usize),
    /// The first of them, in percent of all, and at least one.
    Percent(f64),
    Servers(Vec<usize>),
}

impl Targets {
    /// Returns those of the servers that a selector selects.
    pub(super) fn within(self, selected: Selected) -> Self {
        match selected {
            Selected::All => self,
            Selected::Servers(servers) => Self::Servers(
                self.among(servers.len()).into_iter().filter_map(|index| servers.get(index).copied()).collect(),
            ),
        }
    }

    fn among(&self, replicas: usize) -> Vec<usize> {
        let count = match self {
            Self::Servers(servers) => return servers.clone(),
            Self::All => replicas,
            Self::Count(count) => *count,
            Self::Percent(percent) => (replicas as f64 * percent / 100.0).ceil() as usize,
        };
        (0..count.clamp(1, replicas)).collect()
    }
}

/// A fault of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) line: usize,
    /// The verb, for notes.
    pub(super) verb: &'static str,
    pub(super) at: Duration,
    pub(super) lasts: Option<Duration>,
    /// It lasts until the end of the run, and says so.
    pub(super) lasts_to_the_end: bool,
    /// Time from one occurrence to the next, and their number.
    pub(super) every: Option<(Duration, Option<u64>)>,
    pub(super) kind: &'static str,
    /// Further keys, as TOML.
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) targets: Targets,
}

impl Draft {
    /// Returns the fault that `verb`, of the table's `row`, stands for; none if it has no counterpart. What has none is noted; `known` are
    /// the paths that another part of the reader understands, or that say nothing here.
    pub(super) fn read(
        row: &'static Row,
        verb: &Node,
        at: Duration,
        targets: Targets,
        known: &[&str],
        notes: &mut Notes,
    ) -> Option<Self> {
        if row.kind.is_empty() {
            notes.add(verb.line, row.verb, format!("it cannot be said: {}", row.note));
            return None;
        }
        let mut keys = Vec::new();
        for field in row.fields {
            match field.read(verb) {
                Ok(Some(value)) => keys.push((field.ours, value)),
                Ok(None) => {}
                Err(why) => notes.add(verb.line_of(field.theirs), field.theirs, why),
            }
        }
        for (path, line) in verb.leaves() {
            let of_row = row.fields.iter().any(|field| match field.unit {
                super::unit::Unit::Workers(load) => path == field.theirs || path == load,
                _ => !field.theirs.is_empty() && path == field.theirs,
            });
            if !of_row && !known.iter().any(|known| is_under(&path, known)) {
                notes.add(line, path, format!("a scenario has no counterpart of this field of `{}`", row.verb));
            }
        }
        let Row { kind, verb: name, .. } = row;
        Some(Self {
            line: verb.line,
            verb: name,
            at,
            lasts: None,
            lasts_to_the_end: false,
            every: None,
            kind,
            keys,
            targets,
        })
    }

    /// Returns the key that says how long it lasts.
    fn lasts_key(&self) -> &'static str {
        if matches!(self.kind, "crash" | "drain") { "restart_after" } else { "duration" }
    }

    /// Returns whether it is of connections that are encrypted.
    fn is_of_certificate(&self) -> bool {
        matches!(self.kind, "certificate_expired" | "certificate_untrusted")
    }

    /// Returns when it ends, or when its last occurrence does.
    fn end(&self) -> Duration {
        let last = match self.every {
            Some((every, Some(count))) => every * u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX),
            _ => Duration::ZERO,
        };
        self.at.saturating_add(last).saturating_add(self.lasts.unwrap_or_default())
    }

    fn toml(&self, replicas: usize, end: Duration) -> String {
        let servers = self.targets.among(replicas);
        let is_of_links =
            !self.is_of_certificate() && !matches!(self.kind, "crash" | "drain" | "freeze" | "errors" | "slow");
        let names: Vec<_> = servers.iter().map(|index| quoted(&server_name(*index))).collect();
        let target = match names.as_slice() {
            names if is_of_links && names.len() == replicas && replicas > 1 => "\"*\"".to_owned(),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let mut toml = format!("[[fault]]\nat = {}\nkind = \"{}\"\ntarget = {target}\n", time(self.at), self.kind);
        // Writing to a string cannot fail.
        if let Some((every, count)) = self.every {
            let _ = writeln!(toml, "every = {}", time(every));
            count.iter().for_each(|count| {
                let _ = writeln!(toml, "count = {count}");
            });
        }
        let to_the_end = self.lasts_to_the_end.then(|| end.saturating_sub(self.at));
        if let Some(lasts) = self.lasts.or(to_the_end) {
            let _ = writeln!(toml, "{} = {}", self.lasts_key(), time(lasts));
        }
        for (key, value) in &self.keys {
            if *key != self.lasts_key() || self.lasts.is_none() {
                let _ = writeln!(toml, "{key} = {value}");
            }
        }
        toml
    }
}

fn time(time: Duration) -> String {
    quoted(&duration::text(time))
}

/// All that a document asks for.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) name: Option<String>,
    pub(super) question: Option<String>,
    pub(super) faults: Vec<Draft>,
    /// Number of servers, if the document says it.
    pub(super) replicas: Option<usize>,
    /// Duration and rate of a load.
    pub(super) load: Option<(Duration, f64)>,
    /// Settings as `key=value`, with their lines.
    pub(super) settings: Vec<(usize, String)>,
    /// Changes of settings: line, time, `key=value`.
    pub(super) changes: Vec<(usize, Duration, String)>,
    /// Bounds on metrics: line, and the keys of an expectation but for its phase, as TOML.
    pub(super) expectations: Vec<(usize, String)>,
    pub(super) notes: Notes,
    /// Which servers have which labels.
    pub(super) labels: Labels,
}

impl Outline {
    /// Returns the servers that a field selects by labels, if it has any; all of them if that is not known, which is noted.
    pub(super) fn selected(&mut self, found: Option<Result<Selected, String>>, line: usize, field: &str) -> Selected {
        match found {
            None => Selected::All,
            Some(Ok(selected)) => selected,
            Some(Err(why)) => {
                self.notes.add(line, field, format!("{why}; here it selects all servers"));
                Selected::All
            }
        }
    }

    /// Returns the scenario as TOML, and the notes. The faults are added to those of `base`, if there is one.
    pub(super) fn scenario(mut self, base: Option<&Scenario>) -> (String, Vec<Note>) {
        self.join_targets();
        let replicas = base.map_or_else(|| self.replicas(), |base| base.servers.replicas);
        let last = self.faults.iter().map(Draft::end).max().unwrap_or_default();
        let end = match (base, self.load) {
            (Some(base), _) => base.duration.max(last),
            (None, Some((length, _))) => length.max(last),
            (None, None) => DURATION_MIN.max(last.saturating_add(AFTERWARDS)),
        };
        let mut text = match base {
            Some(base) => Scenario { duration: end, ..base.clone() }.to_toml(),
            None => self.head(replicas, end),
        };
        // Each part is added on its own, so that what is wrong in one does not affect the others.
        let mut faults = base.map_or(0, |base| base.faults.len());
        for draft in &self.faults {
            let more = format!("\n{}", draft.toml(replicas, end));
            match parse(&format!("{text}{more}")) {
                Ok(scenario) => {
                    faults = scenario.faults.len();
                    text += &more;
                }
                Err(why) => self.notes.add(draft.line, draft.verb, format!("it cannot be said: {why}")),
            }
        }
        for (line, at, setting) in &self.changes {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            let more =
                format!("\n[[change]]\nat = {}\nsetting = {}\nto = {}\n", time(*at), quoted(key), literal(value));
            match parse(&format!("{text}{more}")) {
                Ok(_) => text += &more,
                Err(why) => self.notes.add(*line, setting, why),
            }
        }
        let ends = self.faults.iter().all(|draft| draft.lasts.is_some() && draft.end() < end);
        let begins = self.faults.iter().all(|draft| !draft.at.is_zero());
        let phases = [("before", begins), ("after", ends)].map(|(phase, there_is)| there_is.then_some(phase));
        for (line, keys) in &self.expectations {
            for phase in phases.iter().flatten().filter(|_| faults > 0) {
                let more = format!("\n[[expect]]\n{keys}during = \"{phase}\"\n");
                match parse(&format!("{text}{more}")) {
                    Ok(_) => text += &more,
                    Err(why) => self.notes.add(*line, "tolerance", why),
                }
            }
        }
        (text, self.notes.into_sorted())
    }

    /// Joins faults that differ only in their servers, as one verb of a document may have one server.
    fn join_targets(&mut self) {
        let mut joined: Vec<Draft> = Vec::new();
        for draft in self.faults.drain(..) {
            let same = |other: &&mut Draft| {
                Draft { targets: draft.targets.clone(), line: draft.line, ..(**other).clone() } == draft
                    && other.targets != draft.targets
            };
            match (joined.iter_mut().find(same).map(|other| &mut other.targets), &draft.targets) {
                (Some(Targets::Servers(servers)), Targets::Servers(more)) => {
                    servers.extend(more.iter().filter(|index| !servers.contains(index)).copied().collect::<Vec<_>>());
                    servers.sort_unstable();
                }
                _ => joined.push(draft),
            }
        }
        joined.sort_by_key(|draft| draft.at);
        self.faults = joined;
    }

    fn replicas(&self) -> usize {
        let named = self.faults.iter().filter_map(|draft| match &draft.targets {
            Targets::Servers(servers) => servers.iter().max().map(|index| index + 1),
            Targets::Count(count) => Some(*count),
            Targets::All | Targets::Percent(_) => None,
        });
        let least = named.max().unwrap_or(0);
        self.replicas.unwrap_or(REPLICAS).max(least)
    }

    /// Returns the part of a new scenario before its faults.
    fn head(&mut self, replicas: usize, end: Duration) -> String {
        let name: String = self
            .name
            .as_deref()
            .unwrap_or("from_chaos")
            .chars()
            .map(
                |letter| {
                    if letter.is_ascii_alphanumeric() || letter == '-' { letter.to_ascii_lowercase() } else { '_' }
                },
            )
            .take(64)
            .collect();
        let mut text = format!("name = {}\n", quoted(&name));
        if let Some(question) = &self.question {
            let _ = writeln!(text, "question = {}", quoted(question.trim()));
        }
        let rate = self.load.map_or(20.0, |(_, rate)| rate);
        let _ = writeln!(text, "duration = {}\nservers.replicas = {replicas}\nload.rate = {rate:?}", time(end));
        for (line, setting) in &self.settings {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            let more = format!("{key} = {}\n", literal(value));
            match parse(&format!("{text}{more}")) {
                Ok(_) => text += &more,
                Err(why) => self.notes.add(*line, setting, why),
            }
        }
        // Without it such a fault has nothing to act on.
        if self.faults.iter().any(Draft::is_of_certificate) {
            text += "tls = {}\n";
        }
        text
    }
}

/// Returns a value of `--set` as TOML.
fn literal(value: &str) -> String {
    let is_toml = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok();
    if is_toml { value.to_owned() } else { quoted(value) }
}

/// Reads a scenario, and returns what is wrong with it in one line.
fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse("scenario", text, &[]).map_err(|error| match error {
        ScenarioError::Invalid(mistake) => {
            let help = mistake.help.iter().map(|help| format!("; {help}")).collect::<String>();
            format!("{}{help}", mistake.message)
        }
        other => other.to_string(),
    })
}

/// Returns true if `path` is `known` or below it.
fn is_under(path: &str, known: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
