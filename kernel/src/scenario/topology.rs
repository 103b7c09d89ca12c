//! `[[service]]` and `[[edge]]`: the services of an app, and which of them calls which.

use std::ops::Range;

use serde_json::{Value, json};

use super::{Client, Network, Scenario, Servers};
use crate::{
    fault::Hosts,
    server::settings::{Caller, LOAD, ServerNames},
    settings::{
        limits,
        nearest::{backticked, nearest},
        problem::{Problem, Problems},
        table::{KeyInfo, Presence, Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys},
        toml_writer::TomlWriter,
        value::{Codec, Item},
    },
    store,
};

/// The name of the load in `[[edge]]`.
pub const CLIENT: &str = LOAD;

/// The most services of a scenario.
pub const SERVICES_MAX: usize = 100;

/// The most edges of a scenario.
pub const EDGES_MAX: usize = 1_000;

/// One service of an app, and its processes.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The name of the service in the app. Its processes are called `name-0`, `name-1` and so on.
    pub name: String,
    /// The settings of its processes.
    pub servers: Servers,
}

/// The calls of one service, or of the load, to another service.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The service that calls, or [`CLIENT`] for the load.
    pub from: String,
    /// The service that is called.
    pub to: String,
    /// A call ends with the deadline of the attempt on whose behalf it is made.
    pub propagate_deadline: bool,
    /// The policies of its calls; `None` for those of `[client]`. The load always has those.
    pub client: Option<Client>,
    /// Its network; `None` for that of `[network]`. The load always has that.
    pub network: Option<Network>,
}

keys! {
    /// The name of the service, which the app has, too. Its processes are called by it and their number, such as `stock-0`.
    const NAME = name: ServiceName [required] = "stock".to_owned(), (), NOT_DRAWN;
    /// The service that calls, or `"client"` for the load, which calls one service.
    const FROM = from: ServiceName [required] = CLIENT.to_owned(), (), NOT_DRAWN;
    /// The service that is called.
    const TO = to: ServiceName [required] = "stock".to_owned(), (), NOT_DRAWN;
    /// True if a call ends with the deadline of the attempt on whose behalf it is made, as with gRPC in most languages. Not of the load.
    const PROPAGATE_DEADLINE = propagate_deadline: bool = true, (), NOT_DRAWN;
}

/// The keys of `[servers]`, behind the name.
const SERVICE_KEYS: [&dyn KeyInfo; Servers::TABLE.keys.len() + 1] = {
    let mut keys: [&dyn KeyInfo; Servers::TABLE.keys.len() + 1] = [&NAME; Servers::TABLE.keys.len() + 1];
    let mut index = 0;
    while index < Servers::TABLE.keys.len() {
        keys[index + 1] = Servers::TABLE.keys[index];
        index += 1;
    }
    keys
};

impl Service {
    /// The declaration of `[[service]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[service]]`: a service of an app that has several, with the keys of `[servers]`, in place of which it is.",
        keys: &SERVICE_KEYS,
        tables: Servers::TABLE.tables,
        ..TableInfo::EMPTY
    };

    fn read(item: &TableReader<'_, '_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let name = problems.keep(NAME.read(item));
        let servers = problems.keep(Servers::read(item));
        match (name, servers) {
            (Some(name), Some(servers)) => Ok(Self { name, servers }),
            _ => Err(problems),
        }
    }

    /// Writes the keys of one item of `[[service]]`.
    pub(super) fn write_keys(&self, toml: &mut TomlWriter) {
        NAME.write(toml, &self.name);
        self.servers.write_keys(toml, "service");
    }
}

impl Edge {
    /// The declaration of `[[edge]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[edge]]`: a service, or the load, calls another service. Only calls along edges can be made.",
        keys: &[&FROM, &TO, &PROPAGATE_DEADLINE],
        tables: &[
            ("client", Presence::Optional, &TableInfo { doc: CLIENT_DOC, samples: NOT_DRAWN, ..*Client::TABLE }),
            ("network", Presence::Optional, &TableInfo { doc: NETWORK_DOC, samples: NOT_DRAWN, ..*Network::TABLE }),
        ],
        ..TableInfo::EMPTY
    };

    /// Reads one item of `[[edge]]`, whose table `client` is read by `client`.
    fn read(
        item: &TableReader<'_, '_>,
        client: &mut dyn FnMut(&TableReader<'_, '_>) -> Result<Client, Problems>,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let from = problems.keep(FROM.read(item));
        let to = problems.keep(TO.read(item));
        let propagate_deadline = problems.keep(PROPAGATE_DEADLINE.read(item));
        let client = problems.keep(item.table_if_any("client").map(|table| client(&table)).transpose());
        let network = problems.keep(item.optional::<Network>("network"));
        let (Some(from), Some(to), Some(propagate_deadline), Some(client), Some(network)) =
            (from, to, propagate_deadline, client, network)
        else {
            return Err(problems);
        };
        if from == CLIENT {
            let of_load = [
                ("client", "that of [client]"),
                ("network", "that of [network]"),
                (PROPAGATE_DEADLINE.name, "no deadline above it"),
            ];
            for (key, instead) in of_load {
                if let Some(span) = item.span(key) {
                    let message = format!("the edge from the load has no `{key}` of its own");
                    let help = format!("leave it out: the load has {instead}");
                    problems.push(Problem::at(span, message).help(help));
                }
            }
        }
        if problems.is_empty() { Ok(Self { from, to, propagate_deadline, client, network }) } else { Err(problems) }
    }

    /// Writes the keys of one item of `[[edge]]`.
    pub(super) fn write_keys(&self, toml: &mut TomlWriter) {
        FROM.write(toml, &self.from);
        TO.write(toml, &self.to);
        if self.from != CLIENT {
            PROPAGATE_DEADLINE.write(toml, &self.propagate_deadline);
        }
        if let Some(client) = &self.client {
            client.write(toml, "edge.client");
        }
        if let Some(network) = &self.network {
            network.write(toml, "edge.network");
        }
    }
}

const CLIENT_DOC: &str = "`[edge.client]`: the policies of the edge, with the keys of `[client]`. Without it, `[client]` applies; with it, a key that \
                          is left out has its default, and not the value in `[client]`.\n";

const NETWORK_DOC: &str =
    "`[edge.network]`: the network of the edge, with the keys of `[network]`. Without it, `[network]` applies.\n";

/// The services and edges of a scenario; both are empty if it has one group of servers, `[servers]`.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Topology {
    pub(super) services: Vec<Service>,
    pub(super) edges: Vec<Edge>,
}

/// Reads `[[service]]` and `[[edge]]`. Tables of clients are read by `client`.
pub(super) fn read(
    file: &TableReader<'_, '_>,
    client: &mut dyn FnMut(&TableReader<'_, '_>) -> Result<Client, Problems>,
) -> Result<Topology, Problems> {
    let mut problems = Problems::default();
    let service_items = problems.keep(file.list("service", SERVICES_MAX)).unwrap_or_default();
    let edge_items = problems.keep(file.list("edge", EDGES_MAX)).unwrap_or_default();
    let services = problems.keep_all(service_items.iter().map(Service::read));
    let edges = problems.keep_all(edge_items.iter().map(|item| Edge::read(item, client)));
    let (Some(services), Some(edges)) = (services, edges) else { return Err(problems) };
    let mut topology = Topology { services, edges };
    problems.keep(topology.is_sound(file, &service_items, &edge_items));
    topology.put_first_what_load_calls();
    if problems.is_empty() { Ok(topology) } else { Err(problems) }
}

impl Topology {
    /// Returns the settings of the servers that the load calls; `None` if there is one group of servers.
    pub(super) fn entry(&self) -> Option<&Servers> {
        self.services.first().map(|service| &service.servers)
    }

    /// Returns the servers that faults can hit: those of the services or, without any, of the one group.
    pub(super) fn hosts<'a>(&'a self, group: &'a Servers) -> Hosts<'a> {
        if self.services.is_empty() {
            return Hosts::new(ServerNames::of_group(group.replicas), [group]);
        }
        Hosts::new(names_of(&self.services), self.services.iter().map(|service| &service.servers))
    }

    /// Moves the service that the load calls to the front: its servers then have the first indices, as in a scenario of one group.
    fn put_first_what_load_calls(&mut self) {
        let called = self.edges.iter().find(|edge| edge.from == CLIENT).map(|edge| &edge.to);
        if let Some(place) = self.services.iter().position(|service| Some(&service.name) == called) {
            let entry = self.services.remove(place);
            self.services.insert(0, entry);
        }
    }

    fn is_sound(
        &self,
        file: &TableReader<'_, '_>,
        services: &[TableReader<'_, '_>],
        edges: &[TableReader<'_, '_>],
    ) -> Result<(), Problem> {
        if services.is_empty() {
            return match edges.first().and_then(TableReader::own_span) {
                Some(span) => Err(Problem::at(span, "[[edge]] is between services, and there is no [[service]]")
                    .help("add [[service]] tables with the names that the edges have, or remove the edges")),
                None => Ok(()),
            };
        }
        if let Some(span) = file.span("servers") {
            return Err(Problem::at(span, "[servers] and [[service]] exclude each other")
                .help("move the keys of [servers] to the [[service]] tables, each of which has its own"));
        }
        self.names_are_unique(services)?;
        self.replicas_are_few(services)?;
        self.edges_are_known(edges)?;
        self.load_calls_one(services, edges)?;
        self.has_no_circle(edges)
    }

    fn names_are_unique(&self, items: &[TableReader<'_, '_>]) -> Result<(), Problem> {
        for (index, (service, item)) in self.services.iter().zip(items).enumerate() {
            let span = item.span(NAME.name).or(item.own_span());
            let taken = [(CLIENT, "the load"), (store::NAME, "the store of a cache")];
            if let Some((name, what)) = taken.into_iter().find(|(name, _)| service.name == *name) {
                let message = format!("`{name}` is {what}, and no service can have that name");
                return Err(Problem::new(span, message).help("give the service another name, here and in the app"));
            }
            if self.services[..index].iter().any(|other| other.name == service.name) {
                let message = format!("there are two services `{}`", service.name);
                return Err(Problem::new(span, message).help("give one another name, or raise `replicas` of one"));
            }
        }
        Ok(())
    }

    fn replicas_are_few(&self, items: &[TableReader<'_, '_>]) -> Result<(), Problem> {
        let all: usize = self.services.iter().map(|service| service.servers.replicas).sum();
        let most = *limits::REPLICAS.end();
        if all <= most {
            return Ok(());
        }
        let span = items.last().and_then(TableReader::own_span);
        let message = format!("the services have {all} replicas together; allowed are up to {most}");
        Err(Problem::new(span, message).help("lower `replicas` of some"))
    }

    fn edges_are_known(&self, items: &[TableReader<'_, '_>]) -> Result<(), Problem> {
        for (index, (edge, item)) in self.edges.iter().zip(items).enumerate() {
            if edge.from != CLIENT {
                self.is_known(&edge.from, item.span(FROM.name), true)?;
            }
            self.is_known(&edge.to, item.span(TO.name), false)?;
            if self.edges[..index].iter().any(|other| (&other.from, &other.to) == (&edge.from, &edge.to)) {
                let message = format!("there are two edges from `{}` to `{}`", edge.from, edge.to);
                return Err(Problem::new(item.own_span(), message).help("leave one out"));
            }
        }
        Ok(())
    }

    fn is_known(
        &self,
        name: &str,
        span: Option<crate::settings::source::Span>,
        may_be_load: bool,
    ) -> Result<(), Problem> {
        let names: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
        if names.contains(&name) {
            return Ok(());
        }
        let guess = nearest(name, names.iter().copied());
        let guess = guess.map_or(String::new(), |guess| format!("; did you mean `{guess}`?"));
        let of_load = if may_be_load { format!(", and `{CLIENT}` for the load") } else { String::new() };
        let message = format!("there is no service `{name}`{guess}");
        Err(Problem::new(span, message).help(format!("the [[service]] tables have {}{of_load}", backticked(&names))))
    }

    fn load_calls_one(&self, services: &[TableReader<'_, '_>], items: &[TableReader<'_, '_>]) -> Result<(), Problem> {
        let mut of_load = self.edges.iter().zip(items).filter(|(edge, _)| edge.from == CLIENT);
        let help = format!(
            "write, for example: [[edge]], and below it: from = \"{CLIENT}\", to = \"{}\"",
            self.services[0].name
        );
        match (of_load.next(), of_load.next()) {
            (Some(_), None) => {}
            (None, _) => {
                let span = services.first().and_then(TableReader::own_span);
                return Err(Problem::new(span, "no edge says which service the load calls").missing("edge").help(help));
            }
            (Some(_), Some((_, item))) => {
                return Err(Problem::new(item.own_span(), "the load calls one service, and this is a second one")
                    .help("let the first service call the others"));
            }
        }
        let is_called = |service: &&Service| self.edges.iter().any(|edge| edge.to == service.name);
        match self.services.iter().zip(services).find(|(service, _)| !is_called(service)) {
            Some((service, item)) => {
                let message = format!("no edge leads to the service `{}`", service.name);
                Err(Problem::new(item.own_span(), message).help("add an [[edge]] to it, or leave it out"))
            }
            None => Ok(()),
        }
    }

    /// Refuses services that call each other in a circle: their processes could not be started callees first, and a call could go on for ever.
    fn has_no_circle(&self, items: &[TableReader<'_, '_>]) -> Result<(), Problem> {
        for (edge, item) in self.edges.iter().zip(items) {
            let mut reached = vec![edge.to.as_str()];
            let mut next = 0;
            while let Some(name) = reached.get(next).copied() {
                if name == edge.from {
                    let message = format!("`{}` and `{}` call each other in a circle", edge.from, edge.to);
                    return Err(Problem::new(item.own_span(), message).help("remove one of the edges of the circle"));
                }
                let onwards = self.edges.iter().filter(|edge| edge.from == name).map(|edge| edge.to.as_str());
                let new: Vec<_> = onwards.filter(|name| !reached.contains(name)).collect();
                reached.extend(new);
                next += 1;
            }
        }
        Ok(())
    }
}

/// Returns the names of the servers of `services`.
fn names_of(services: &[Service]) -> ServerNames {
    ServerNames::of_services(services.iter().map(|service| (service.name.clone(), service.servers.replicas)))
}

impl Scenario {
    /// Returns whether the scenario has `[[service]]` tables in place of one group of servers.
    pub fn has_services(&self) -> bool {
        !self.services.is_empty()
    }

    /// Returns the names of all servers.
    pub fn names(&self) -> ServerNames {
        if self.has_services() { names_of(&self.services) } else { ServerNames::of_group(self.servers.replicas) }
    }

    /// Returns the number of all servers.
    pub fn replicas(&self) -> usize {
        self.names().len()
    }

    /// Returns the service of the server at `index`, by its position among `[[service]]`; `None` if there are none.
    pub fn service_of(&self, index: usize) -> Option<usize> {
        self.names().place(index).map(|(service, _)| service)
    }

    /// Returns the settings of the server at `index`.
    pub fn servers_of(&self, index: usize) -> &Servers {
        self.service_of(index).map_or(&self.servers, |service| &self.services[service].servers)
    }

    /// Returns the names of the servers that the load calls, which have the first indices.
    pub fn entry_names(&self) -> Vec<String> {
        self.names().all().take(self.servers.replicas).collect()
    }

    /// Returns the settings of the server called `name`, or those of `[servers]` if there is none.
    pub fn servers_named(&self, name: &str) -> &Servers {
        let service = name.rsplit_once('-').map_or(name, |(service, _)| service);
        let service = self.services.iter().find(|it| it.name == service);
        service.map_or(&self.servers, |service| &service.servers)
    }

    /// Returns the indices of the servers of the service at this position among `[[service]]`.
    pub fn servers_of_service(&self, service: usize) -> Range<usize> {
        self.names().of_service(&self.services[service].name).unwrap_or_default()
    }

    /// Returns the edges from the service at this position among `[[service]]`.
    pub fn edges_from(&self, service: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == self.services[service].name)
    }

    /// Removes the server at `index`, and one replica of its service. Returns false if that has no other one. Faults are left as they are.
    pub fn remove_server(&mut self, index: usize) -> bool {
        let service = self.service_of(index);
        let group = service.map_or(&mut self.servers, |service| &mut self.services[service].servers);
        if group.replicas < 2 {
            return false;
        }
        group.replicas -= 1;
        if service == Some(0) {
            self.servers.replicas -= 1;
        }
        true
    }

    /// Returns the indices of all servers, in the groups in which they are started: those first that are called by the others.
    pub fn start_order(&self) -> Vec<Vec<usize>> {
        if !self.has_services() {
            return vec![(0..self.replicas()).collect()];
        }
        let mut left: Vec<usize> = (0..self.services.len()).collect();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let is_left = |name: &str| left.iter().any(|service| self.services[*service].name == name);
            let waits = |service: &usize| self.edges_from(*service).any(|edge| is_left(&edge.to));
            let (later, now): (Vec<_>, Vec<_>) = left.iter().partition(|service| waits(service));
            // There is no circle, so that one can always be started; if there were one, all that is left is.
            let now = if now.is_empty() { std::mem::take(&mut left) } else { now };
            groups.push(now.iter().flat_map(|service| self.servers_of_service(*service)).collect());
            left = if left.is_empty() { Vec::new() } else { later };
        }
        groups
    }

    /// Returns who calls the server at `index`, each with the network between them.
    pub fn callers_of(&self, index: usize) -> Vec<(Caller, Network)> {
        let Some(service) = self.service_of(index) else { return vec![(Caller::Load, self.network)] };
        let name = &self.services[service].name;
        let to_it = self.edges.iter().filter(|edge| edge.to == *name);
        let caller = |from: &str| match self.services.iter().position(|service| service.name == from) {
            Some(service) => Caller::Service(service),
            None => Caller::Load,
        };
        to_it.map(|edge| (caller(&edge.from), edge.network.unwrap_or(self.network))).collect()
    }
}

/// The form of a service's name, for messages. A dash is between it and the number of a process.
const RULE: &str = "a small letter, then small letters, digits and `_`";

/// The name of a service, which is that of its processes, too.
struct ServiceName;

impl Codec for ServiceName {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "name".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        let name = String::read(item, &())?;
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.len() <= limits::NAME_LEN_MAX
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if is_name {
            return Ok(name);
        }
        let help = format!("it names processes and their logs: {RULE}, such as \"stock\"");
        Err(Problem::at(item.span(), format!("{name:?} cannot be the name of a service")).help(help))
    }

    fn written(value: &String) -> Option<String> {
        String::written(value)
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": limits::NAME_LEN_MAX })
    }

    fn limits_text((): &()) -> Option<String> {
        Some(RULE.to_owned())
    }
}

#[cfg(test)]
mod tests;
