//! One attempt: the RPC that carries a request's message to one server, within its timeout.

use std::{pin::pin, sync::Arc};

use tower_service::Service;

use super::{
    Shared,
    failure::{Cause, Failure, Unseen},
    plain_channel::{Headers, PlainChannel, failure_from_status, origin, within},
};
use crate::{
    grpc::{Message, Reply},
    record::AttemptId,
    status::Code,
    time::Instant,
};

/// An attempt that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentAttempt {
    pub(super) id: AttemptId,
    pub(super) server: usize,
    /// The time at which it was sent.
    pub(super) at: Instant,
}

/// Carries `message` to the server of `attempt` and waits for the whole reply until `timeout`.
pub(super) async fn process(
    client: &Shared,
    attempt: SentAttempt,
    message: &Message,
    timeout: Instant,
    headers: Option<Arc<Headers>>,
) -> Result<Reply, Failure> {
    let SentAttempt { id, server, at } = attempt;
    let most = client.settings.max_request_message_bytes.unwrap_or(usize::MAX);
    if message.bytes() > most {
        let cause = Cause::RequestTooLarge { bytes: message.bytes(), most };
        return Err(Failure::new(Code::ResourceExhausted, cause));
    }
    let request = message.request(origin(), client.timeouts.header(timeout.since(at)), id.number - 1);
    let rpc = pin!(async {
        let connection = &client.servers[server].connection;
        let sender = connection.ready().await?;
        let mut channel =
            PlainChannel::new(sender.clone()).noting(headers).taking(client.settings.max_response_message_bytes);
        let replied = async { Reply::read(channel.call(request).await?).await };
        let result = replied.await.map_err(|status| failure_from_status(&status));
        if result.as_ref().is_err_and(|failure| failure.unseen == Some(Unseen::Unsent)) {
            connection.on_closed(&sender);
        }
        result
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}
