//! The reader: the steps from a path or a text to a [`Scenario`], in order, and the declaration of the whole file.

use std::{io, path::Path, time::Duration};

use serde_json::Value;
use toml::de::DeValue;

use super::{
    Change, Client, Expectation, Fault, FaultGenerator, Load, Mistake, Network, ReadingNotes, Run, Scenario,
    ScenarioError, Servers, Slo, Tls, Workload, change, contradictions, service_config, shorthand,
    topology::{self, Edge, Service, Topology},
    totals,
};
use crate::{
    fault::Hosts,
    input,
    load::{apply_trace, check_kinds},
    settings::{
        limits, name, overrides,
        problem::{LocatedProblem, Problem, Problems},
        shape,
        source::{Source, Tree},
        table::{Presence, Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys},
        value::{Codec, Item},
    },
    slo,
};

keys! {
    /// The name, which is the run folder's, too: letters, digits, `-` and `_`.
    pub(super) const NAME = name: Name [required] = "crash_then_freeze".to_owned(), (), NOT_DRAWN;
    /// The question that the scenario answers, in a sentence.
    pub(super) const QUESTION = question: Option<String> = None, (), NOT_DRAWN;
    /// The time during which load is offered; the run then drains.
    pub(super) const DURATION = duration: Duration [required] = Duration::from_secs(90), limits::DURATION, NOT_DRAWN;
}

/// The declaration of a whole scenario file: every table and key, from which messages, the reference, random settings and
/// tests of the format are derived.
pub const TABLE: &TableInfo = &TableInfo {
    doc: "The top of the file.",
    keys: &[&NAME, &QUESTION, &DURATION],
    tables: &[
        ("servers", Presence::Always, Servers::TABLE),
        ("service", Presence::List, Service::TABLE),
        ("edge", Presence::List, Edge::TABLE),
        ("workload", Presence::Always, Workload::TABLE),
        ("load", Presence::Always, Load::TABLE),
        ("network", Presence::Always, Network::TABLE),
        ("tls", Presence::Optional, Tls::TABLE),
        ("client", Presence::Always, Client::TABLE),
        ("run", Presence::Always, Run::TABLE),
        ("nemesis", Presence::Optional, FaultGenerator::TABLE),
        ("fault", Presence::List, Fault::TABLE),
        ("change", Presence::List, Change::TABLE),
        ("expect", Presence::List, Expectation::TABLE),
        ("slo", Presence::List, Slo::TABLE),
    ],
    ..TableInfo::EMPTY
};

impl Scenario {
    /// Reads the scenario file at `path` and applies `overrides`, each a `key=value` as `--set` takes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is not UTF-8, or it or an override is wrong; see [`ScenarioError`].
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let overrides = ["client.retry.max_attempts=1".to_owned()];
    /// let scenario = Scenario::load("../scenarios/crash.toml".as_ref(), &overrides)?;
    /// assert_eq!(scenario.client.retry.max_attempts, 1);
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioError> {
        let text = text_of(path)?;
        Self::parse_in(folder_of(path), &path.display().to_string(), &text, overrides)
    }

    /// Like [`Scenario::load`], for `text` that is already in memory. `origin` is what errors call it. Files that it names
    /// are looked for in the working directory.
    ///
    /// # Errors
    ///
    /// Returns an error if the text or an override is wrong.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let mistake = Scenario::parse("short.toml", "name = \"short\"\nduraton = \"10s\"", &[]).unwrap_err();
    /// assert!(mistake.to_string().contains("did you mean `duration`?"), "{mistake}");
    /// ```
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, ScenarioError> {
        Self::parse_in(Path::new(""), origin, text, overrides)
    }

    fn parse_in(base: &Path, origin: &str, text: &str, overrides: &[String]) -> Result<Self, ScenarioError> {
        Self::check_in(base, origin, text, overrides).map_err(|mut mistakes| mistakes.swap_remove(0).into())
    }

    /// Like [`Scenario::load`], and finds everything that is wrong.
    ///
    /// # Errors
    ///
    /// Returns each mistake in the file and the overrides, in the order of the file, or the one reason why the file cannot be
    /// read. A mistake that only follows from another one, such as a missing key whose misspelt name is in the file, is
    /// not among them.
    pub fn check(path: &Path, overrides: &[String]) -> Result<Self, Vec<ScenarioError>> {
        let text = text_of(path).map_err(|error| vec![error])?;
        Self::check_in(folder_of(path), &path.display().to_string(), &text, overrides).map_err(|mut mistakes| {
            mistakes.sort_by_key(|mistake| mistake.order());
            mistakes.into_iter().map(ScenarioError::from).collect()
        })
    }

    fn check_in(base: &Path, origin: &str, text: &str, overrides: &[String]) -> Result<Self, Vec<Mistake>> {
        let source = Source::new(origin, text, overrides);
        read(&source, overrides, base, Purpose::Run)
            .map_err(|problems| problems.into_iter().map(|problem| Mistake::new(problem, &source)).collect())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Reads the file or pipe at `path`.
fn text_of(path: &Path) -> Result<String, ScenarioError> {
    input::read_text_within(path, limits::FILE_BYTES_MAX).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => format!("{error}; check its spelling and the folder it starts from"),
            io::ErrorKind::IsADirectory => "it is a directory; name a scenario file in it".to_owned(),
            _ => error.to_string(),
        };
        ScenarioError::Unreadable { path: path.to_owned(), reason }
    })
}

impl Scenario {
    /// Returns the paths of the settings that [`Scenario::reset`] can take away: optional tables and tables of the client as
    /// a whole, keys of the other tables. Load, servers and faults as such are not among them.
    pub fn resettable() -> Vec<String> {
        let mut paths = Vec::new();
        for (name, _, table) in TABLE.tables {
            if ["client", "servers", "load", "network"].contains(name) {
                paths.extend(table.tables.iter().map(|(inner, ..)| format!("{name}.{inner}")));
                let keys = table.keys.iter().filter(|key| !key.is_required()).map(|key| key.name());
                paths.extend(keys.filter(|key| *key != "replicas").map(|key| format!("{name}.{key}")));
            }
        }
        paths
    }

    /// Returns the scenario without the setting at `path`, which then has its default; `None` if that changes nothing or
    /// is no valid scenario.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let text = "name = \"short\"\nduration = \"10s\"\nload = { rate = 5, max_in_flight = 9 }\n";
    /// let scenario = Scenario::parse("short.toml", text, &[])?;
    /// let less = scenario.reset("load.max_in_flight").expect("it is not the default");
    /// assert!(less.is_default("load.max_in_flight") && less.load.rate == 5.0);
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn reset(&self, path: &str) -> Option<Self> {
        self.without(path)?.ok().filter(|less| less != self)
    }

    /// Returns whether the setting at `path` has its default.
    pub fn is_default(&self, path: &str) -> bool {
        match self.without(path) {
            None => true,
            Some(less) => less.is_ok_and(|less| less == *self),
        }
    }

    /// Reads the scenario again as it is written, without the key or table at `path`; `None` if it is not written.
    fn without(&self, path: &str) -> Option<Result<Self, Problems>> {
        let text = self.to_toml();
        let source = Source::new("reset", &text, &[]);
        let mut file = source.parse().ok()?;
        let (tables, key) = path.rsplit_once('.')?;
        let mut table = file.get_mut();
        for name in tables.split('.') {
            match table.get_mut(name)?.get_mut() {
                DeValue::Table(inner) => table = inner,
                _ => return None,
            }
        }
        table.remove(key)?;
        Some(scenario(&TableReader::file(file.get_ref()), Path::new(""), Purpose::Run))
    }
}

/// The purpose for which the settings of a scenario are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A run from its start.
    Run,
    /// The rest of a run after a change. A table may be without effect then.
    Change,
}

/// Reads the scenario. Files that it names are looked for in `base`.
pub(super) fn read(
    source: &Source,
    overrides: &[String],
    base: &Path,
    purpose: Purpose,
) -> Result<Scenario, Vec<LocatedProblem>> {
    let mut table = source.parse().map_err(|error| vec![Problem::syntax(&error).into()])?;
    let mut problems = overrides::apply(&mut table, source, overrides);
    shorthand::expand(&mut table);
    // The shape of the whole file first, so that a misspelt key is reported before what its absence leads to.
    shape::check(table.get_ref(), TABLE, "", TABLE, &mut problems);
    match scenario(&TableReader::file(table.get_ref()), base, purpose) {
        Ok(scenario) if problems.is_empty() => return Ok(scenario),
        Ok(_) => {}
        Err(later) => problems.add_later(later),
    }
    Err(problems.located(&Tree::new(&table)))
}

/// Reads the tables in order. Files that the scenario names are looked for in `base`.
fn scenario(file: &TableReader<'_, '_>, base: &Path, purpose: Purpose) -> Result<Scenario, Problems> {
    let mut problems = Problems::default();
    let name = problems.keep(NAME.read(file));
    let duration = problems.keep(DURATION.read(file));
    let servers = problems.keep(Servers::read(&file.table("servers")));
    let list = problems.keep(file.list("fault", limits::FAULTS_MAX)).unwrap_or_default();
    let mut notes = Vec::new();
    let topology = topology::read(file, &mut |table| client(table, (base, purpose), &mut notes));
    let topology = problems.keep(topology);
    let hosts = servers.as_ref().zip(topology.as_ref()).map(|(servers, topology)| topology.hosts(servers));
    let faults = faults(&list, duration, hosts.as_ref(), &mut problems);
    let fault_count = faults.as_ref().map_or_else(|| most_faults(&list), Vec::len);
    let question = problems.keep(QUESTION.read(file));
    let workload = problems.keep(Workload::read(&file.table("workload")));
    let load = problems.keep(load(file, base));
    let network = problems.keep(Network::read(&file.table("network")));
    let tls = problems.keep(file.optional::<Tls>("tls"));
    let client = problems.keep(client(&file.table("client"), (base, purpose), &mut notes));
    let run = problems.keep(Run::read(&file.table("run")));
    let nemesis = problems.keep(file.optional("nemesis"));
    let expectations = problems.keep(file.list("expect", limits::EXPECTATIONS_MAX)).unwrap_or_default();
    let expectations = problems.keep_all(expectations.iter().map(|item| Expectation::read(item, fault_count)));
    let slos = problems.keep(slo::settings::read_all(file, duration));
    let (
        Some(name),
        Some(question),
        Some(duration),
        Some(servers),
        Some(topology),
        Some(workload),
        Some(load),
        Some(network),
        Some(tls),
        Some(client),
        Some(run),
        Some(nemesis),
        Some(faults),
        Some(expectations),
        Some(slos),
    ) = (
        name,
        question,
        duration,
        servers,
        topology,
        workload,
        load,
        network,
        tls,
        client,
        run,
        nemesis,
        faults,
        expectations,
        slos,
    )
    else {
        return Err(problems);
    };
    let servers = topology.entry().cloned().unwrap_or(servers);
    let Topology { services, edges } = topology;
    let has_service_config = file.table("client").span("service_config").is_some();
    let mut scenario = Scenario {
        name,
        question,
        duration,
        servers,
        services,
        edges,
        workload,
        load,
        network,
        tls,
        client,
        run,
        nemesis,
        faults,
        changes: Vec::new(),
        expectations,
        slos,
        notes: ReadingNotes { sentences: notes, has_service_config },
    };
    problems.keep(check_kinds(&file.table("load"), &scenario.load.request, &scenario.workload));
    scenario.changes = problems.keep(change::read_all(file, &scenario)).unwrap_or_default();
    problems.keep(totals::check(&scenario, file));
    problems.keep(contradictions::refuse_without_tls(&scenario, file, &list));
    problems.keep(contradictions::refuse_without_app(&scenario, file));
    problems.keep(contradictions::refuse_without_edge(&scenario, &list));
    problems.keep(contradictions::refuse_without_parts(&scenario, file));
    problems.keep(contradictions::refuse_without_store(&scenario, file, &list));
    problems.keep(contradictions::refuse_without_kind(&scenario, file));
    if problems.is_empty() { Ok(scenario) } else { Err(problems) }
}

/// Returns the largest number of faults that items of `[[fault]]` may be, some of which are wrong.
fn most_faults(list: &[TableReader<'_, '_>]) -> usize {
    if list.iter().any(|item| item.span("every").is_some()) { limits::FAULTS_MAX } else { list.len() }
}

/// Reads the items of `[[fault]]`, of which those that are repeated become several faults.
fn faults(
    list: &[TableReader<'_, '_>],
    duration: Option<Duration>,
    hosts: Option<&Hosts<'_>>,
    problems: &mut Problems,
) -> Option<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut are_all_read = true;
    for item in list {
        match problems.keep(Fault::read(item, duration, hosts)) {
            Some(occurrences) => faults.extend(occurrences),
            None => are_all_read = false,
        }
        if faults.len() > limits::FAULTS_MAX {
            let message = format!("with the faults that are repeated there are more than {}", limits::FAULTS_MAX);
            problems.push(Problem::new(item.own_span(), message).help("raise `every`, lower `count`, or remove some"));
            return None;
        }
    }
    are_all_read.then_some(faults)
}

/// Reads `[load]`, the one table that every scenario needs, as its rate has no sensible default, with the trace that it names.
fn load(file: &TableReader<'_, '_>, base: &Path) -> Result<Load, Problems> {
    let Some(table) = file.table_if_any("load") else {
        return Err(Problem::new(None, "missing table [load] with the key `rate`")
            .missing("load")
            .help("write, for example: [load], and below it: rate = 5.0")
            .into());
    };
    let mut load = Load::read(&table)?;
    apply_trace(&table, base, &mut load)?;
    Ok(load)
}

/// Reads `[client]`, with the service config that it names. Notes about it are added to `notes`.
fn client(
    table: &TableReader<'_, '_>,
    (base, purpose): (&Path, Purpose),
    notes: &mut Vec<String>,
) -> Result<Client, Problems> {
    let mut client = Client::read(table)?;
    let mut problems = Problems::default();
    problems.keep(contradictions::settle_retry(table, &mut client.retry));
    // First, as it says whether calls retry, and which balancer there is.
    if problems.keep(service_config::apply(table, base, &mut client, notes)).is_some() {
        problems.keep(contradictions::refuse(table, &client));
        if purpose == Purpose::Run {
            problems.keep(contradictions::refuse_idle(table, &client));
            problems.keep(contradictions::refuse_without_room(table, &client));
        }
    }
    if problems.is_empty() { Ok(client) } else { Err(problems) }
}

/// The name of a run folder, kept to what every file system and shell takes as it is.
pub(super) struct Name;

impl Codec for Name {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "name".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        let name = String::read(item, &())?;
        let wrong = if name.is_empty() {
            "the name is empty".to_owned()
        } else if let Some(other) = name.chars().find(|c| !name::admits(*c)) {
            format!("{other:?} cannot be in a name")
        } else if name.len() > limits::NAME_LEN_MAX {
            format!("the name has {} characters", name.len())
        } else {
            return Ok(name);
        };
        let help = format!("it names the run folder: {}, such as \"crash_then_freeze\"", name::rule());
        Err(Problem::at(item.span(), wrong).help(help))
    }

    fn written(value: &String) -> Option<String> {
        String::written(value)
    }

    fn schema((): &()) -> Value {
        name::schema()
    }

    fn limits_text((): &()) -> Option<String> {
        Some(name::rule())
    }
}
