//! One attempt: the RPC that carries a request's message to one server, within its timeout.

use std::{pin::pin, sync::Arc};

use http::Response;
use tonic::Status;
use tower_service::Service;

use super::{
    Server, Shared,
    failure::{Cause, Failure, Unseen},
    metered_attempt::{self, fail},
    plain_channel::{Headers, PlainChannel, ReplyBody, failure_from_status, origin, within},
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
    let rpc = pin!(async {
        let response = send(client, attempt, message, (timeout, timeout), headers).await?;
        Reply::read(response).await.map_err(|status| failure_from_status(&status))
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}

/// Carries `message` to the server of `attempt` and waits for the headers of its reply until `timeout`. The server learns that the call
/// ends at `deadline`. A reply of trailers alone that are not OK is a failure.
pub(super) async fn open(
    client: &Shared,
    attempt: SentAttempt,
    message: &Message,
    timeout: Instant,
    deadline: Instant,
    headers: Option<Arc<Headers>>,
) -> Result<Response<ReplyBody>, Failure> {
    let rpc = pin!(async {
        let response = send(client, attempt, message, (timeout, deadline), headers).await?;
        let status = Status::from_header_map(response.headers()).filter(|status| status.code() != tonic::Code::Ok);
        status.map_or(Ok(response), |status| Err(failure_from_status(&status)))
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}

/// Sends `message` to the server of `attempt`, which must answer until the second of `ends`, and waits for the headers of its reply. The caller
/// waits for these until the first.
async fn send(
    client: &Shared,
    attempt: SentAttempt,
    message: &Message,
    ends: (Instant, Instant),
    headers: Option<Arc<Headers>>,
) -> Result<Response<ReplyBody>, Failure> {
    let (headers_until, timeout) = ends;
    let SentAttempt { id, server, at } = attempt;
    let Server { connection, name, .. } = &client.servers[server];
    let mut metered = metered_attempt::begin(&client.recorder, name, headers_until);
    let most = client.settings.max_request_message_bytes.unwrap_or(usize::MAX);
    if message.bytes() > most {
        let cause = Cause::RequestTooLarge { bytes: message.bytes(), most };
        return Err(fail(metered, Failure::new(Code::ResourceExhausted, cause)));
    }
    let request = message.request(origin(), client.live().timeouts.header(timeout.since(at)), id.number - 1);
    let sender = match connection.ready().await {
        Ok(sender) => sender,
        Err(failure) => return Err(fail(metered, failure)),
    };
    let request = match &mut metered {
        Some(metered) => metered_attempt::send(metered, message, request),
        None => request,
    };
    let channel = PlainChannel::new(sender.clone()).noting(headers).taking(client.settings.max_response_message_bytes);
    let mut channel = if message.shape().streams_replies() { channel.streaming() } else { channel };
    match channel.call(request).await {
        Ok(response) => Ok(metered_attempt::follow(metered, response, timeout)),
        Err(status) => {
            let failure = failure_from_status(&status);
            if failure.unseen == Some(Unseen::Unsent) {
                connection.on_closed(&sender);
            }
            Err(fail(metered, failure))
        }
    }
}
