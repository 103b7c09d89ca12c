//! `[[load.request]]`: kinds of requests, of which each request is one.

use std::time::Duration;

use serde_json::Value;

use crate::{
    entropy::{Entropy, unit},
    settings::{
        limits, name,
        problem::{Problem, Problems},
        table::TableReader,
        table_macro::{NOT_DRAWN, table},
        value::{Codec, Item, Share},
    },
    status::Code,
    workload::{
        settings::{
            Backend, GraphSize, Images, Pictures, SHARE_OF_ATTEMPTS, Sizes, Workload, WorkloadName, connected,
            fails_or_hangs,
        },
        size::Size,
    },
};

table! {
    /// `[[load.request]]`: a kind of requests. Each request is of one kind, drawn by the weights. What a kind does not set is as in
    /// `[workload]`.
    RequestKind {
        /// The name, which the record of each request has as `kind`.
        name: String as KindName [required] = "thumbnail".to_owned(), (), NOT_DRAWN;
        /// Its share of the requests, relative to the weights of the other kinds.
        weight: f64 = 1.0, limits::WEIGHT, NOT_DRAWN;
        /// With the workload `sobel`: sizes of the generated images, one of which is drawn for each request of the kind.
        sizes: Option<Vec<Size>> as Option<Sizes> = None, (), NOT_DRAWN;
        /// With the workload `dfs`: number of nodes.
        nodes: Option<u32> = None, limits::NODES, NOT_DRAWN;
        /// With the workload `dfs`: number of edges; at least one less than the nodes.
        edges: Option<u32> = None, limits::EDGES, NOT_DRAWN;
        /// With the workload `backend`: share of the attempts that fail.
        failure_rate: Option<f64> as Option<Share> = None, SHARE_OF_ATTEMPTS, NOT_DRAWN;
        /// With the workload `backend`: status of those.
        failure_status: Option<Code> = None, (), NOT_DRAWN;
        /// With the workload `backend`: share of the attempts that are never answered; with the failures at most 1.
        hang_rate: Option<f64> as Option<Share> = None, SHARE_OF_ATTEMPTS, NOT_DRAWN;
        /// With the workload `backend`: the least time that an attempt holds its worker.
        delay: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
    }
}

/// The keys of a kind that belong to one workload.
const KEYS: &[(WorkloadName, &[&str])] = &[
    (WorkloadName::Sobel, &["sizes"]),
    (WorkloadName::Dfs, &["nodes", "edges"]),
    (WorkloadName::Backend, &["failure_rate", "failure_status", "hang_rate", "delay"]),
];

impl RequestKind {
    /// Returns the workload of the requests of this kind: `workload` with what the kind sets instead.
    pub fn workload(&self, workload: &Workload) -> Workload {
        match workload {
            Workload::Sobel(Images { pictures, tiles }) => {
                let pictures = self.sizes.clone().map_or_else(|| pictures.clone(), Pictures::Synthetic);
                Workload::Sobel(Images { pictures, tiles: *tiles })
            }
            Workload::Dfs(graph) => Workload::Dfs(GraphSize {
                nodes: self.nodes.unwrap_or(graph.nodes),
                edges: self.edges.unwrap_or(graph.edges),
            }),
            Workload::Backend(backend) => Workload::Backend(self.backend(*backend)),
            Workload::App(times) => Workload::App(*times),
        }
    }

    /// Returns how a backend treats the requests of this kind, if it treats others as `backend` says.
    pub(crate) fn backend(&self, backend: Backend) -> Backend {
        Backend {
            failure_rate: self.failure_rate.unwrap_or(backend.failure_rate),
            failure_status: self.failure_status.unwrap_or(backend.failure_status),
            hang_rate: self.hang_rate.unwrap_or(backend.hang_rate),
            delay: self.delay.unwrap_or(backend.delay),
        }
    }
}

/// Checks the kinds of the table `load` in a scenario with this workload: each has a name of its own, no key of another workload,
/// and makes a valid workload.
pub(crate) fn check(load: &TableReader<'_, '_>, kinds: &[RequestKind], workload: &Workload) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let tables = load.list("request", limits::REQUEST_KINDS_MAX)?;
    for (index, (kind, table)) in kinds.iter().zip(&tables).enumerate() {
        if kinds[..index].iter().any(|other| other.name == kind.name) {
            let message = format!("two kinds of requests are called `{}`", kind.name);
            problems.push(
                Problem::new(table.span("name"), message).help("their rows could not be distinguished; rename one"),
            );
        }
        problems.keep(own_keys(table, WorkloadName::from(workload)));
        match kind.workload(workload) {
            Workload::Dfs(graph) => drop(problems.keep(connected(graph, table))),
            Workload::Backend(backend) => drop(problems.keep(fails_or_hangs(backend, table))),
            Workload::Sobel(_) | Workload::App(_) => {}
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Refuses keys of other workloads than `workload` in the table of a kind.
fn own_keys(table: &TableReader<'_, '_>, workload: WorkloadName) -> Result<(), Problems> {
    let mut problems = Problems::default();
    for (owner, keys) in KEYS.iter().filter(|(owner, _)| *owner != workload) {
        for key in *keys {
            let Some(span) = table.span(key) else { continue };
            let message = format!("`{key}` is of the workload `{owner}`, and [workload] has kind = \"{workload}\"");
            problems.push(Problem::at(span, message).help("remove it, or change the kind of [workload]"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The shares of kinds of requests. Without kinds, no request is of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Mix {
    /// The sum of the weights up to each kind, with that of the kind.
    sums: Vec<f64>,
}

impl Mix {
    /// Creates the mix of `kinds`.
    pub(crate) fn new(kinds: &[RequestKind]) -> Self {
        let sums = kinds.iter().scan(0.0, |sum, kind| {
            *sum += kind.weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// Returns the index of the kind of request `id`, which depends on nothing but the seed and the id.
    pub(crate) fn kind_of(&self, entropy: Entropy, id: u64) -> Option<usize> {
        let all = *self.sums.last()?;
        let drawn = unit(&mut entropy.constant_stream_of("load.request", &[id])) * all;
        // The product may be rounded up to the sum itself.
        Some(self.sums.partition_point(|sum| *sum <= drawn).min(self.sums.len() - 1))
    }
}

/// The name of a kind, which is a column in files.
pub(crate) struct KindName;

impl Codec for KindName {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "name".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        let name = String::read(item, &())?;
        if name.chars().all(name::admits) && (1..=limits::NAME_LEN_MAX).contains(&name.len()) {
            return Ok(name);
        }
        let help = format!("it is {}, such as \"thumbnail\"", name::rule());
        Err(Problem::at(item.span(), format!("`{name}` cannot be the name of a kind")).help(help))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario::Scenario, settings::table::Settings};

    fn parse(workload: &str, kinds: &str) -> Result<Scenario, String> {
        let text = format!("name = 'a'\nduration = '1s'\n[workload]\nkind = '{workload}'\n[load]\nrate = 1\n{kinds}");
        Scenario::parse("a.toml", &text, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_are_drawn_by_their_weights() {
        let kinds = [1.0, 6.0, 3.0].map(|weight| RequestKind { weight, ..RequestKind::default() });
        let mix = Mix::new(&kinds);
        let mut counts = [0_u32; 3];
        (0..10_000).for_each(|id| counts[mix.kind_of(Entropy::new(7), id).unwrap()] += 1);
        // Five standard deviations of the binomial distribution: 5 * sqrt(10000 * p * (1 - p)).
        for (count, (mean, most)) in counts.into_iter().zip([(1_000, 150), (6_000, 245), (3_000, 230)]) {
            assert!(count.abs_diff(mean) <= most, "{counts:?}");
        }
        assert_eq!(Mix::new(&[]).kind_of(Entropy::new(7), 3), None);
    }

    #[test]
    fn a_kind_has_what_it_does_not_set_from_the_workload() {
        let scenario =
            parse("dfs", "[[load.request]]\nname = 'small'\nnodes = 10\n[[load.request]]\nname = 'usual'").unwrap();
        let workloads = scenario.load.request.iter().map(|kind| kind.workload(&scenario.workload));
        let graph = |nodes| Workload::Dfs(GraphSize { nodes, edges: 60_000 });
        assert_eq!(workloads.collect::<Vec<_>>(), [graph(10), graph(20_000)]);
    }

    #[test]
    fn a_kind_of_another_workload_of_a_taken_name_or_of_no_valid_workload_is_refused() {
        let kind = |keys: &str| format!("[[load.request]]\nname = 'a'\n{keys}\n");
        for (workload, kinds, message) in [
            ("dfs", kind("sizes = ['8x8']"), "`sizes` is of the workload `sobel`"),
            ("sobel", kind("delay = '1s'"), "`delay` is of the workload `backend`"),
            ("sobel", kind("") + &kind(""), "two kinds of requests are called `a`"),
            ("dfs", kind("nodes = 9\nedges = 7"), "7 edges cannot connect 9 nodes"),
            ("backend", kind("failure_rate = 0.7\nhang_rate = 0.4"), "are over 1 together"),
            ("sobel", kind("weight = 0"), "0 is out of range"),
            ("sobel", "[[load.request]]\nname = 'a b'\n".to_owned(), "cannot be the name of a kind"),
        ] {
            let error = parse(workload, &kinds).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn every_key_of_a_kind_but_name_and_weight_is_of_one_workload() {
        let own: Vec<_> = KEYS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        let declared: Vec<_> = RequestKind::TABLE.keys.iter().map(|key| key.name()).collect();
        assert_eq!(declared[2..], own);
    }
}
