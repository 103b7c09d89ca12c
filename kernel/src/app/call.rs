//! One request of the load of an app.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tonic::IntoRequest;

use super::Host;
use crate::{
    client::{Channel, Client, LoadCall},
    entropy::RandomStream,
    grpc::{CALL, Methods},
    record::Name,
    sync::lock,
};

/// One request of the load: the channel for its call, and the checks of the reply. Clones are the same request.
#[derive(Clone)]
pub struct Call {
    shared: Arc<Shared>,
}

struct Shared {
    id: u64,
    kind: Option<Name>,
    host: Host,
    client: Client,
    call: Arc<LoadCall>,
    methods: Arc<Methods>,
    /// Number of messages that the reply has.
    expected: Mutex<Option<u64>>,
    /// The first check that failed.
    failed: Mutex<Option<String>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.shared.id).field("kind", &self.shared.kind).finish()
    }
}

impl Call {
    pub(super) fn new(
        id: u64,
        kind: Option<Name>,
        host: Host,
        client: Client,
        call: Arc<LoadCall>,
        methods: Arc<Methods>,
    ) -> Self {
        let (expected, failed) = Default::default();
        Self { shared: Arc::new(Shared { id, kind, host, client, call, methods, expected, failed }) }
    }

    /// Returns the number of the request in the run, from 0. The same number has the same random draws in every run with the seed.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Returns the name of the request's kind, of those in `[[load.request]]`; `None` if the scenario has none.
    pub fn kind(&self) -> Option<&str> {
        self.shared.kind.as_deref()
    }

    /// Returns the channel to the service, through the policies of the scenario's `[client]`. A generated client is made over it, and makes
    /// the one call of the request. A method that streams is declared with `App::described_by` or `App::streaming`.
    pub fn channel(&self) -> Channel {
        self.shared.client.channel_of_load(self.shared.call.clone(), self.shared.methods.clone())
    }

    /// Returns `message` as a request of a generated client over a stack of the load's own ([`Host::connector`]), with metadata that say
    /// which request of the load its call belongs to. The [`channel`](Self::channel) adds them by itself.
    pub fn request<T>(&self, message: impl IntoRequest<T>) -> tonic::Request<T> {
        let mut request = message.into_request();
        request.metadata_mut().insert(CALL, self.shared.id.into());
        request
    }

    /// Returns the host of the load generator.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Returns random numbers that depend on the seed of the run, the request and `name`.
    pub fn rng(&self, name: &str) -> RandomStream {
        self.shared.host.rng(name)
    }

    /// Checks the reply: if not `holds`, the result is wrong, which fails the run with exit code 1. `what` says what should be true.
    ///
    /// A reply of the policy `fallback`, which no server gave, is not checked.
    pub fn check(&self, holds: bool, what: &str) {
        if !holds {
            lock(&self.shared.failed).get_or_insert_with(|| format!("this does not hold: {what}"));
        }
    }

    /// Says that the reply, which streams, has this number of messages. If the call fails behind the headers of the reply, those that have
    /// not arrived count as lost (`messages_lost`).
    pub fn expect_messages(&self, messages: u64) {
        *lock(&self.shared.expected) = Some(messages);
    }

    /// Returns the number of messages that the reply has, if that is known.
    pub(super) fn expected_messages(&self) -> Option<u64> {
        *lock(&self.shared.expected)
    }

    /// Returns the first check that failed.
    pub(super) fn failed_check(&self) -> Option<String> {
        lock(&self.shared.failed).clone()
    }
}
