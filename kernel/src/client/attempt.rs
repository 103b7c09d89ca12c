//! One attempt: the RPC that carries a request's input to one server, within its timeout.

use std::pin::pin;

use super::{
    Shared,
    channel::{Channel, origin, within},
    failure::{Cause, Failure},
    rpc::{self, Envelope},
};
use crate::{
    proto::rehearsal::rehearsal_client::RehearsalClient,
    record::AttemptId,
    server::MESSAGE_BYTES_MAX,
    time::Instant,
    workload::{Input, Output},
};

/// An attempt that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentAttempt {
    pub(super) id: AttemptId,
    pub(super) server: usize,
    /// The time at which it was sent.
    pub(super) at: Instant,
}

/// Carries `input` to the server of `attempt` and waits for the output until `timeout`.
pub(super) async fn process(
    client: &Shared,
    attempt: SentAttempt,
    input: &Input,
    timeout: Instant,
) -> Result<Output, Failure> {
    let SentAttempt { id, server, at } = attempt;
    let envelope = Envelope { attempt: id, timeout: client.timeouts.header(timeout.since(at)) };
    let rpc = pin!(async {
        let channel = Channel::new(client.servers[server].connection.ready().await?);
        let stub = RehearsalClient::with_origin(channel, origin())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        rpc::ask(stub, envelope, input).await
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}
