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
    server::MESSAGE_BYTES_MAX,
    time::Instant,
    workload::{Input, Output},
};

/// Sends `input`, now, as attempt `number` of `request` to `server` and waits until `timeout`.
pub(super) async fn process(
    client: &Shared,
    server: usize,
    (request, number): (u64, u32),
    input: &Input,
    (now, timeout): (Instant, Instant),
) -> Result<Output, Failure> {
    let envelope = Envelope { request, attempt: number, timeout: client.timeouts.write(timeout.since(now)) };
    let rpc = pin!(async {
        let stub =
            RehearsalClient::with_origin(Channel::new(client.servers[server].connection.ready().await?), origin())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
        rpc::ask(stub, envelope, input).await
    });
    within(&client.world, timeout, Cause::AttemptTimeout, rpc).await
}
