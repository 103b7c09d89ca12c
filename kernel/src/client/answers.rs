//! The answers that a client keeps: in its memory, or in a store that clients share.

use std::sync::{Arc, Mutex};

use super::Request;
use crate::{
    grpc::Reply,
    policy::{Answers, Cache, Freshness, Lookup},
    record::Recorder,
    store::{Store, StoreAccess},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

/// The cache of a client.
pub(super) enum Cached {
    Memory(Mutex<Answers<Reply>>),
    Store { store: Arc<Store>, settings: Cache },
}

/// The result of the look-up in the cache with which a call begins.
pub(super) struct Found {
    pub(super) lookup: Lookup<Reply>,
    /// The answer of a store, however old, for a fallback.
    pub(super) last_known: Option<Reply>,
}

impl Cached {
    /// Returns an empty cache, or one in the store behind `access` if the settings name a store.
    pub(super) fn new(settings: &Cache, access: Option<StoreAccess>, world: &SharedWorld, recorder: &Recorder) -> Self {
        match settings.store_settings().zip(access) {
            None => Self::Memory(Mutex::new(Answers::new(settings.clone()))),
            Some((of_store, access)) => {
                let store = Arc::new(Store::new(world.clone(), recorder.clone(), access, of_store));
                Self::Store { store, settings: settings.clone() }
            }
        }
    }

    /// Looks up the answer to `request`, whose call has begun at `now` and ends at `deadline`. Only a store takes time.
    pub(super) async fn look_up(&self, request: &Request, now: Instant, deadline: Instant) -> Found {
        let key = request.message.key();
        let (store, settings) = match self {
            Self::Memory(answers) => return Found { lookup: lock(answers).look_up(key, now), last_known: None },
            Self::Store { store, settings } => (store, settings),
        };
        let Some(found) = store.look_up(key, request.id, deadline).await else {
            return Found { lookup: Lookup::Miss, last_known: None };
        };
        let reply = found.entry.reply;
        let lookup = match settings.freshness(found.at.since(found.entry.arrived)) {
            Freshness::Fresh => Lookup::Fresh(reply),
            Freshness::Stale => Lookup::Stale { answer: reply, renew: store.begin_renewal(key) },
            Freshness::Old => return Found { lookup: Lookup::Miss, last_known: Some(reply) },
        };
        Found { lookup, last_known: None }
    }

    /// Returns the last known answer to `request`, however old, if it is in memory.
    pub(super) fn last_known(&self, request: &Request) -> Option<Reply> {
        match self {
            Self::Memory(answers) => lock(answers).last_known(request.message.key()),
            Self::Store { .. } => None,
        }
    }

    /// Keeps `reply` as the answer to `request`, `now`.
    pub(super) fn keep(&self, request: &Request, reply: &Reply, now: Instant) {
        let key = request.message.key();
        match self {
            Self::Memory(answers) => lock(answers).keep(key, reply, now),
            Self::Store { store, .. } => store.keep(key, reply, request.id),
        }
    }

    /// Notes that the call that renews the answer to `request` has failed.
    pub(super) fn on_renewal_failed(&self, request: &Request) {
        let key = request.message.key();
        match self {
            Self::Memory(answers) => lock(answers).on_renewal_failed(key),
            Self::Store { store, .. } => store.end_renewal(key),
        }
    }
}
