//! Faults: what can go wrong in a run, when and where, and the generator that draws faults from a seed.
//!
//! [`kind`] declares the kinds and their keys; adding one there makes the compiler ask for its effect.

pub mod generator;
pub mod kind;
mod repetition;

use std::{fmt, ops::Range, time::Duration};

use serde_json::{Value, json};
use toml::Spanned;

pub use generator::{FaultGenerator, TargetCount};
pub use kind::{Affects, Direction, FaultKind, FaultName};

use crate::{
    server::settings::{Caller, ServerNames, Servers},
    settings::{
        duration, limits,
        nearest::{backticked, nearest},
        problem::{Problem, Problems},
        table::{KeyInfo, Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys},
        toml_writer::{TomlWriter, list, string},
        value::{Codec, Item, is_string, one_or_more},
    },
    status::Code,
    store,
};

/// The target of a fault of the link to the store of the cache, in the place of a server's index.
pub const STORE: usize = usize::MAX;

/// Returns the name of a target of faults, in scenario files and in records, among servers with these names.
pub fn target_name(target: usize, names: &ServerNames) -> String {
    if target == STORE { store::NAME.to_owned() } else { names.name(target) }
}

/// `[[fault]]`: a fault at its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Start, from the start of the run, no later than the scenario's duration.
    pub at: Duration,
    /// Indices of the servers it hits, or [`STORE`], ascending, without repeats, at least one.
    pub targets: Vec<usize>,
    /// The failure, and how long it lasts.
    pub kind: FaultKind,
    /// The one caller whose links it acts on, if it is a fault of links; `None` for those of all.
    pub caller: Option<Caller>,
}

keys! {
    /// When the fault starts, from the start of the run; no later than the scenario's `duration`.
    const AT = at: Duration [required] = Duration::from_secs(25), limits::WAIT, NOT_DRAWN;
    // It names servers, which only the whole scenario knows, so that `targets` reads it.
    /// A server, such as `"server-0"`, a list of servers, or `"*"`: the link to every server, for a fault of links. Such a fault can also
    /// have the target `"store"`, the link to the store of `[client.cache]`. With `[[service]]` a server is, for example, `"stock-1"`, and the name
    /// of a service stands for all of its servers.
    const TARGET = target: Target [required] = vec![0], (), NOT_DRAWN;
    /// With `[[service]]`: the service, or `"client"`, whose links to the target a fault of links acts on; by default those of all that call it.
    const FROM = from: Option<String> = None, (), NOT_DRAWN;
}

struct Target;

impl Codec for Target {
    type Target = Vec<usize>;
    type Limits = ();

    fn type_name() -> String {
        "server, list of servers, or `\"*\"`".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Vec<usize>, Problem> {
        targets(item, FaultName::Reset, &ServerNames::of_group(*limits::REPLICAS.end()))
    }

    fn written(value: &Vec<usize>) -> Option<String> {
        Some(written(value, &ServerNames::default()))
    }

    fn schema((): &()) -> Value {
        let server = json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]*(-[0-9]+)?$" });
        let several = json!({ "type": "array", "items": server, "minItems": 1, "uniqueItems": true });
        json!({ "anyOf": [server, { "const": "*" }, several] })
    }
}

/// Writes the servers of these indices.
fn written(targets: &[usize], names: &ServerNames) -> String {
    match targets {
        [one] => string(&target_name(*one, names)),
        several => list(&several.iter().map(|target| target_name(*target, names)).collect::<Vec<_>>()),
    }
}

/// The servers that faults of a scenario can hit.
pub(crate) struct Hosts<'a> {
    names: ServerNames,
    /// The settings of each server.
    settings: Vec<&'a Servers>,
}

impl<'a> Hosts<'a> {
    /// Returns the servers of these groups, which have these names together.
    pub(crate) fn new(names: ServerNames, groups: impl IntoIterator<Item = &'a Servers>) -> Self {
        Self { names, settings: groups.into_iter().flat_map(|group| vec![group; group.replicas]).collect() }
    }

    /// Returns the time after which crashed servers of these indices are restarted, which a fault has by default.
    ///
    /// # Errors
    ///
    /// Returns an error if they have several.
    fn restart_after(&self, targets: &[usize], table: &TableReader<'_, '_>) -> Result<Option<Duration>, Problem> {
        let mut times = targets.iter().filter_map(|target| self.settings.get(*target)).map(|it| it.restart_after);
        let first = times.next().flatten();
        if times.all(|time| time == first) {
            return Ok(first);
        }
        let message = "the services of these servers have several `restart_after`";
        Err(Problem::new(table.span(TARGET.name), message)
            .help("write `restart_after` here, or a fault for each service"))
    }
}

impl Fault {
    /// The declaration of `[[fault]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[fault]]`: something that goes wrong.",
        keys: &[&AT as &dyn KeyInfo, &TARGET, &FROM, &repetition::EVERY, &repetition::COUNT],
        ..*<FaultKind as Settings>::TABLE
    };

    /// Reads one item of `[[fault]]` in a scenario of this duration with these hosts: a fault or, if it is repeated, each of its
    /// occurrences. What depends on a duration or on servers that are wrong themselves is not checked.
    ///
    /// # Errors
    ///
    /// Returns every problem of the item, and none only if duration and servers are given.
    pub(crate) fn read(
        table: &TableReader<'_, '_>,
        end: Option<Duration>,
        hosts: Option<&Hosts<'_>>,
    ) -> Result<Vec<Self>, Problems> {
        let mut problems = Problems::default();
        let kind = problems.keep(FaultKind::read(table));
        let at = problems.keep(AT.read(table).and_then(|at| starts_before(table, at, end)));
        let name = kind.as_ref().map_or(FaultName::Reset, FaultName::from);
        let targets = problems.keep(match (table.get(TARGET.name), &kind, hosts) {
            (Some(item), Some(_), Some(hosts)) => targets(item, name, &hosts.names),
            // Neither the number of servers nor, for `*`, the kind is known.
            (Some(_), ..) => Ok(Vec::new()),
            (None, ..) => TARGET.read(table),
        });
        let caller = problems.keep(caller(table, kind.as_ref().map(|_| name), hosts));
        let (Some(mut kind), Some(at), Some(targets), Some(caller)) = (kind, at, targets, caller) else {
            return Err(problems);
        };
        if let FaultKind::Crash { restart_after: restart_after @ None }
        | FaultKind::Drain { restart_after: restart_after @ None, .. } = &mut kind
        {
            *restart_after = hosts.map_or(Ok(None), |hosts| hosts.restart_after(&targets, table))?;
        }
        if let FaultKind::Drain { grace, restart_after } = &mut kind {
            settle_grace(table, grace, *restart_after)?;
        }
        if let FaultKind::Errors { status: status @ None, delay: None, .. } = &mut kind {
            *status = Some(Code::Unavailable);
        }
        if let FaultKind::Loss { .. } = &kind {
            check_losses(table)?;
        }
        Ok(repetition::occurrences(table, Self { at, targets, kind, caller }, end)?)
    }

    /// Writes the keys of one item of `[[fault]]`.
    pub(crate) fn write_keys(&self, toml: &mut TomlWriter, names: &ServerNames) {
        AT.write(toml, &self.at);
        toml.key("kind", string(self.kind.name()));
        toml.key(TARGET.name, written(&self.targets, names));
        FROM.write(toml, &self.caller.map(|caller| names.caller(caller)));
        self.kind.write_keys_of_kind(toml, "");
    }
}

impl Fault {
    /// Returns the fault as an inline table, on servers of these names.
    pub fn text(&self, names: &ServerNames) -> String {
        let mut toml = TomlWriter::default();
        self.write_keys(&mut toml, names);
        toml.into_inline_table()
    }
}

impl fmt::Display for Fault {
    /// Writes the fault as an inline table, on servers of one group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&ServerNames::default()))
    }
}

/// Reads who calls over the links that a fault of this kind acts on.
fn caller(
    table: &TableReader<'_, '_>,
    kind: Option<FaultName>,
    hosts: Option<&Hosts<'_>>,
) -> Result<Option<Caller>, Problem> {
    let (Some(span), Some(hosts)) = (table.span(FROM.name), hosts) else { return FROM.read(table).map(|_| None) };
    let Some(from) = FROM.read(table)? else { return Ok(None) };
    if !hosts.names.has_services() {
        return Err(Problem::at(
            span,
            "`from` is for scenarios with [[service]] tables: here the load alone calls servers",
        )
        .help("leave it out"));
    }
    if let Some(kind) = kind.filter(|kind| kind.affects() != Affects::Link) {
        let message = format!("a `{kind}` fault is one of a process, and of no link");
        return Err(Problem::at(span, message).help("leave `from` out"));
    }
    hosts.names.named_caller(&from).map(Some).ok_or_else(|| {
        let message = format!("there is no service `{from}`");
        Problem::at(span, message).help("write the name of a [[service]], or `client` for the load")
    })
}

/// The longest time that a drain gives calls by default; Kubernetes's `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(30);

/// Completes the time that a drain gives calls, and checks that it is over when the next process starts.
fn settle_grace(
    table: &TableReader<'_, '_>,
    grace: &mut Option<Duration>,
    restart_after: Option<Duration>,
) -> Result<(), Problem> {
    let longest = restart_after.unwrap_or(Duration::MAX);
    let grace = *grace.get_or_insert(GRACE.min(longest));
    table.ordered(("grace", grace), ("restart_after", longest))
}

/// The keys of losses in bursts, which a loss has in place of its `rate`.
const BURST_KEYS: [&str; 4] = ["enter_burst", "exit_burst", "loss_in_burst", "loss_outside"];

/// Checks that a loss has either a `rate` or bursts.
fn check_losses(table: &TableReader<'_, '_>) -> Result<(), Problem> {
    let Some((key, _)) = table.first_of(&BURST_KEYS) else {
        return if table.span("rate").is_some() { Ok(()) } else { Err(table.missing("rate", "0.05")) };
    };
    table.excludes("rate", key, "`rate` loses each segment on its own; remove it, or the keys of bursts")?;
    for (key, example) in [("enter_burst", "0.01"), ("exit_burst", "0.2")] {
        if table.span(key).is_none() {
            return Err(table.missing(key, example));
        }
    }
    Ok(())
}

/// Checks that a fault at `at` starts before the scenario's `end`, if that is known.
fn starts_before(table: &TableReader<'_, '_>, at: Duration, end: Option<Duration>) -> Result<Duration, Problem> {
    match (table.span(AT.name), end) {
        (Some(span), Some(end)) if at > end => {
            let end = duration::text(end);
            Err(Problem::at(span, format!("the scenario is over after {end}, before this fault starts"))
                .help("start it earlier, or lengthen the scenario's `duration`"))
        }
        _ => Ok(at),
    }
}

/// Returns the indices of the servers that `item` names, for a fault of this kind in a scenario with servers of these names.
fn targets(item: &Item<'_>, kind: FaultName, names: &ServerNames) -> Result<Vec<usize>, Problem> {
    if is_string(item, "*") {
        return match kind.affects() {
            Affects::Link => Ok((0..names.len()).collect()),
            Affects::Process | Affects::Work | Affects::Handshakes => Err(not_every_server(item, kind)),
        };
    }
    let mut targets = Vec::new();
    for name in one_or_more(item)? {
        for index in found(&name, kind, names)? {
            if targets.contains(&index) {
                let message = format!("`{}` is in the list already; leave one out", name.get_ref());
                return Err(Problem::at(name.span(), message));
            }
            targets.push(index);
        }
    }
    if targets.is_empty() {
        return Err(Problem::at(item.span(), "the list is empty; a fault hits at least one server"));
    }
    targets.sort_unstable();
    Ok(targets)
}

fn not_every_server(item: &Item<'_>, kind: FaultName) -> Problem {
    let links: Vec<_> = FaultName::all().filter(|kind| kind.affects() == Affects::Link).map(FaultName::name).collect();
    let message = format!("a `{kind}` fault cannot have the target `*`; list the servers instead");
    Problem::at(item.span(), message).help(format!("`*` is every link, for {}", backticked(&links)))
}

/// Returns the store as the target of a fault of this kind.
fn store_target(name: &Spanned<String>, kind: FaultName) -> Result<usize, Problem> {
    if kind.affects() == Affects::Link {
        return Ok(STORE);
    }
    let links: Vec<_> = FaultName::all().filter(|kind| kind.affects() == Affects::Link).map(FaultName::name).collect();
    let message = format!("a `{kind}` fault cannot have the target `store`, of which only the link can fail");
    let help = format!(
        "for a store that is down write kind = \"reset\" with a `duration`; the faults of links are {}",
        backticked(&links)
    );
    Err(Problem::at(name.span(), message).help(help))
}

/// Returns the targets that `name` stands for in a fault of this kind: one server, those of a service, or the store.
fn found(name: &Spanned<String>, kind: FaultName, names: &ServerNames) -> Result<Vec<usize>, Problem> {
    if name.get_ref() == store::NAME {
        return store_target(name, kind).map(|store| vec![store]);
    }
    servers(name, names).map(Iterator::collect)
}

/// Returns the indices of the servers that `name` stands for: one server, or those of a service.
fn servers(name: &Spanned<String>, names: &ServerNames) -> Result<Range<usize>, Problem> {
    let text = name.get_ref();
    if let Some(servers) = names.of_service(text) {
        return Ok(servers);
    }
    let servers: Vec<_> = names.all().collect();
    if let Some(index) = servers.iter().position(|server| server == text) {
        return Ok(index..index + 1);
    }
    if text == "*" {
        return Err(Problem::at(name.span(), "`*` stands for all and cannot be in a list; write target = \"*\""));
    }
    let message = format!("there is no server `{text}`");
    // Another number is as near as any: only a misspelt word is worth a guess.
    let guess = nearest(text, servers.iter().map(String::as_str)).filter(|_| !text.starts_with("server-"));
    let message = guess.map_or(message.clone(), |guess| format!("{message}; did you mean `{guess}`?"));
    let replicas = servers.len();
    Err(Problem::at(name.span(), message).help(match servers.as_slice() {
        [first, .., last] if names.has_services() => format!("the [[service]] tables make `{first}` to `{last}`"),
        [only] if names.has_services() => format!("the [[service]] tables make `{only}` the only one"),
        [only] => format!("[servers] replicas = 1 makes `{only}` the only one"),
        [.., last] if servers.len() > 8 => format!("[servers] replicas = {replicas} makes `server-0` to `{last}`"),
        _ => format!("[servers] replicas = {replicas} makes {}", backticked(&servers)),
    }))
}
