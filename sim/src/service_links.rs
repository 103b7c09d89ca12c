//! The links of processes that call other services.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use kernel::{
    link::{Link, LinkShape},
    scenario::Caller,
    sync::lock,
};

/// The links of all processes that call services, by who calls and the index of the server that is called. A process that takes the place of
/// another one has links of its own, of the same shape.
#[derive(Default)]
pub(crate) struct ServiceLinks {
    of_edges: Mutex<BTreeMap<(Caller, usize), EdgeLinks>>,
}

/// The links of the processes of a service to one server.
#[derive(Default)]
struct EdgeLinks {
    shape: LinkShape,
    /// The link of each process, by the index of the server that it is.
    links: BTreeMap<usize, Arc<Link>>,
}

impl ServiceLinks {
    /// Adds the link from the process of the server at `from`, which is one of `caller`, to the server at `to`.
    pub(crate) fn add(&self, caller: Caller, from: usize, to: usize, link: &Arc<Link>) {
        let mut edges = self.edges();
        let edge = edges.entry((caller, to)).or_default();
        link.set_shape(edge.shape.clone());
        edge.links.insert(from, link.clone());
    }

    /// Notes that the links of `caller` to the server at `to` have this shape from now on, those of later processes, too. Returns the present
    /// ones, with the index of the server that has each.
    pub(crate) fn reshape(&self, caller: Caller, to: usize, shape: &LinkShape) -> Vec<(usize, Arc<Link>)> {
        let mut edges = self.edges();
        let edge = edges.entry((caller, to)).or_default();
        edge.shape = shape.clone();
        edge.all()
    }

    /// Returns the links of `caller` to the server at `to`, with the index of the server that has each.
    pub(crate) fn all(&self, caller: Caller, to: usize) -> Vec<(usize, Arc<Link>)> {
        self.edges().get(&(caller, to)).map(EdgeLinks::all).unwrap_or_default()
    }

    /// Drops all links, at the end of a simulation.
    pub(crate) fn clear(&self) {
        let edges = std::mem::take(&mut *self.edges());
        drop(edges);
    }

    fn edges(&self) -> MutexGuard<'_, BTreeMap<(Caller, usize), EdgeLinks>> {
        lock(&self.of_edges)
    }
}

impl EdgeLinks {
    fn all(&self) -> Vec<(usize, Arc<Link>)> {
        self.links.iter().map(|(from, link)| (*from, link.clone())).collect()
    }
}
