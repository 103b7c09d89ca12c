//! Active health checks: gRPC's health-checking protocol, over a server's pooled connection.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;

use super::{
    Shared,
    channel::{Channel, failure_from_status, origin, within},
    connection::Sender,
    failure::{Cause, Failure},
};
use crate::{
    proto::{
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        rehearsal::rehearsal_server,
    },
    status::Code,
    time::Instant,
};

/// Checks on one server for as long as the client lives.
pub(super) async fn check_regularly(client: Arc<Shared>, server: usize) {
    let settings = client.settings.health_check;
    let mut connection = client.servers[server].connection.watcher();
    let mut due = client.world.now() + settings.interval;
    loop {
        // A new connection is checked at once: the known health is that of the connection before.
        select(client.world.sleep_until(due), pin!(connection.becomes_ready())).await;
        let started = client.world.now();
        due = started + settings.interval;
        // A server that cannot even be connected to is reported as unhealthy by its connection already.
        if client.servers[server].connection.is_failing() {
            continue;
        }
        let failure = check_health(&client, server, started + settings.timeout).await.err();
        client.health.observe(server, failure.as_ref());
    }
}

/// Asks `server` for its health and waits until `timeout`.
async fn check_health(client: &Shared, server: usize, timeout: Instant) -> Result<(), Failure> {
    let left = timeout.since(client.world.now());
    let rpc = pin!(async { ask_health(client.servers[server].connection.ready().await?, left).await });
    within(&client.world, timeout, Cause::HealthCheckTimeout, rpc).await
}

/// Asks the server at the other end for its health. `timeout` is sent with the request: how long the answer is of use.
///
/// Fails with UNAVAILABLE if the server answers that it does not serve.
pub(super) async fn ask_health(sender: Sender, timeout: Duration) -> Result<(), Failure> {
    let mut message = tonic::Request::new(HealthCheckRequest { service: rehearsal_server::SERVICE_NAME.to_owned() });
    message.set_timeout(timeout);
    let reply = HealthClient::with_origin(Channel::new(sender), origin()).check(message).await;
    let status = reply.map_err(|status| failure_from_status(&status))?.into_inner().status();
    match status {
        ServingStatus::Serving => Ok(()),
        other => Err(Failure::new(Code::Unavailable, Cause::Answer(other.as_str_name().to_owned()))),
    }
}
