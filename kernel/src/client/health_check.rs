//! Active health checks: gRPC's health-checking protocol, over a server's pooled connection.
//!
//! The method is a setting: a check at every interval here, or a stream of reports in [`watch`](mod@watch).

mod no_news;
mod watch;

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;

use super::{
    Shared,
    connection::Sender,
    failure::{Cause, Failure},
    plain_channel::{PlainChannel, failure_from_status, origin, within},
};
use crate::{
    proto::{
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        rehearsal::rehearsal_server,
    },
    status::Code,
    sync::lock,
    time::Instant,
};

pub(super) use no_news::Checks;
pub(super) use watch::watch;

/// Least number of checks in a row that are skipped. A few checks cost little, and their messages are part of what happens on a
/// connection between two calls.
const SKIPPED_MIN: u32 = 10;

/// Checks on one server for as long as the client lives.
pub(super) async fn check_regularly(client: Arc<Shared>, server: usize) {
    let Some(settings) = &client.settings.health_check else { return };
    let world = &client.world;
    let mut connection = client.servers[server].connection.watcher();
    let mut due = world.now() + settings.interval;
    loop {
        // A new connection is checked at once: the known health is that of the connection before.
        select(world.sleep_idly_until(due), pin!(connection.becomes_ready())).await;
        let started = world.now();
        due = started + settings.interval;
        let no_news_until = lock(&client.checks).no_news_until(server, || world.calm());
        let skipped = no_news_until.map_or(0, |until| intervals(until.since(started), settings.interval));
        if skipped >= SKIPPED_MIN {
            due = started + settings.interval * skipped;
            continue;
        }
        // A server that cannot even be connected to is reported as unhealthy by its connection already.
        if client.servers[server].connection.is_failing() {
            continue;
        }
        lock(&client.checks).begin(started, || world.calm());
        let failure = check_health(&client, server, started + settings.timeout).await.err();
        client.health.observe_check(server, failure.as_ref());
        lock(&client.checks).end(server, failure.is_none(), world.now(), || world.calm());
    }
}

/// Returns how many whole intervals fit into `span`.
fn intervals(span: Duration, interval: Duration) -> u32 {
    u32::try_from(span.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX)
}

/// Asks `server` for its health and waits until `timeout`.
async fn check_health(client: &Shared, server: usize, timeout: Instant) -> Result<(), Failure> {
    let left = timeout.since(client.world.now());
    let service = service_name(client);
    let rpc = pin!(async { ask_health(client.servers[server].connection.ready().await?, service, left).await });
    within(&client.world, timeout, Cause::HealthCheckTimeout, rpc).await
}

/// Returns the name of the service whose health is asked for.
fn service_name(client: &Shared) -> &str {
    let service = client.settings.health_check.as_ref().and_then(|check| check.service.as_deref());
    service.unwrap_or(rehearsal_server::SERVICE_NAME)
}

/// Asks the server at the other end for the health of `service`. `timeout` is sent with the request: how long the answer is of use.
///
/// Fails with UNAVAILABLE if the server answers that it does not serve.
pub(super) async fn ask_health(sender: Sender, service: &str, timeout: Duration) -> Result<(), Failure> {
    let mut message = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    message.set_timeout(timeout);
    let reply = HealthClient::with_origin(PlainChannel::new(sender), origin()).check(message).await;
    let status = reply.map_err(|status| failure_from_status(&status))?.into_inner().status();
    match status {
        ServingStatus::Serving => Ok(()),
        other => Err(Failure::new(Code::Unavailable, Cause::Answer(other.as_str_name().to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_are_skipped_are_whole_intervals() {
        let whole = |millis| intervals(Duration::from_millis(millis), Duration::from_millis(500));
        assert_eq!([0, 499, 500, 999, 1_000, 5_499].map(whole), [0, 0, 1, 1, 2, 10]);
        assert_eq!(intervals(Duration::MAX, Duration::from_nanos(1)), u32::MAX);
    }
}
