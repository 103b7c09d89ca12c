//! One attempt: the RPC that carries a request's input to one server, within its timeout.

use std::{pin::pin, sync::Arc};

use super::{
    Shared,
    channel::{Channel, Headers, origin, within},
    failure::{Cause, Failure, Unseen},
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
    headers: Option<Arc<Headers>>,
) -> Result<Output, Failure> {
    let SentAttempt { id, server, at } = attempt;
    let envelope = Envelope { attempt: id, timeout: client.timeouts.header(timeout.since(at)) };
    let rpc = pin!(async {
        let connection = &client.servers[server].connection;
        let sender = connection.ready().await?;
        let channel = Channel::new(sender.clone()).noting(headers);
        let stub = RehearsalClient::with_origin(channel, origin())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let result = rpc::ask(stub, envelope, input).await;
        if result.as_ref().is_err_and(|failure| failure.unseen == Some(Unseen::Unsent)) {
            connection.on_closed(&sender);
        }
        result
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}
