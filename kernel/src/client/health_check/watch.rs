//! The health of a server as the server reports it: the stream `Watch`, as a gRPC channel with `healthCheckConfig` uses it (A17).
//!
//! A stream is opened as soon as a connection is ready, and lasts as long as the connection does. Until its first report the health
//! of the server is not known. A server without `Watch` (UNIMPLEMENTED) counts as healthy. Any other end of the stream makes the server
//! unhealthy, and the stream is opened again after the backoff of connections. The backoff counts from the time at which the
//! stream was opened, and a report restarts it: a stream that reported for longer than that is opened again at once.
//!
//! Beyond A17, a server that an attempt made unhealthy (`[client.passive_health]`) is asked again after an interval of the
//! checks: its stream reports nothing, because nothing has changed in the opinion of the server.

use std::{pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use tonic::Status;

use super::super::{
    Shared,
    backoff::Backoff,
    connection::Sender,
    failure::{Cause, Failure, Unseen},
    plain_channel::{PlainChannel, failure_from_status, origin},
};
use super::service_name;
use crate::{
    proto::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    status::Code,
};

/// The cause of a server's bad health after a stream that ended with OK.
const ENDED: &str = "the watch has ended";

/// Watches one server for as long as the client lives.
pub(in crate::client) async fn watch(client: Arc<Shared>, server: usize) {
    let mut connection = client.servers[server].connection.watcher();
    let rng = client.entropy.stream(&format!("health_watch.{}", client.servers[server].name));
    let mut backoff = Backoff::new(rng);
    loop {
        client.health.ask(server);
        let sender = connection.becomes_ready().await;
        select(pin!(watch_over(&client, server, &sender, &mut backoff)), pin!(connection.changes())).await;
    }
}

/// Watches one server over a connection until this is dropped.
async fn watch_over(client: &Shared, server: usize, sender: &Sender, backoff: &mut Backoff) {
    let Some(settings) = &client.settings.health_check else { return };
    let world = &client.world;
    let mut wait = backoff.restart();
    loop {
        client.health.ask(server);
        let opened = world.now();
        let (end, has_reported) = follow(client, server, sender).await;
        if has_reported {
            wait = backoff.restart();
        }
        match end {
            End::Doubted => {
                world.sleep_until(world.now() + settings.interval).await;
                wait = backoff.restart();
                continue;
            }
            End::Failed(failure) if failure.code == Code::Unimplemented => {
                client.health.observe_report(server, Ok(()));
                client.health.is_doubted(server).await;
                world.sleep_until(world.now() + settings.interval).await;
                continue;
            }
            End::Failed(failure) => note(client, server, sender, &failure),
        }
        world.sleep_until(opened + wait).await;
        wait = backoff.grow();
    }
}

/// The end of a stream of reports.
enum End {
    /// It failed, or the server ended it.
    Failed(Failure),
    /// An attempt has made the server unhealthy.
    Doubted,
}

/// Opens a stream, and follows its reports until it ends. Returns whether there was one, too.
async fn follow(client: &Shared, server: usize, sender: &Sender) -> (End, bool) {
    let mut has_reported = false;
    let reports = async {
        let request = HealthCheckRequest { service: service_name(client).to_owned() };
        let channel = PlainChannel::new(sender.clone()).streaming();
        let mut reports = HealthClient::with_origin(channel, origin()).watch(request).await?.into_inner();
        while let Some(report) = reports.message().await? {
            has_reported = true;
            let rating = match report.status() {
                ServingStatus::Serving => Ok(()),
                other => Err(Cause::Answer(other.as_str_name().to_owned())),
            };
            client.health.observe_report(server, rating);
        }
        Ok::<_, Status>(())
    };
    let end = match select(pin!(reports), pin!(client.health.is_doubted(server))).await {
        Either::Left((Ok(()), _)) => End::Failed(Failure::new(Code::Ok, Cause::Answer(ENDED.to_owned()))),
        Either::Left((Err(status), _)) => End::Failed(failure_from_status(&status)),
        Either::Right(_) => End::Doubted,
    };
    (end, has_reported)
}

/// Notes that a stream has failed.
fn note(client: &Shared, server: usize, sender: &Sender, failure: &Failure) {
    if failure.unseen == Some(Unseen::Unsent) {
        client.servers[server].connection.on_closed(sender);
    }
    // The end of the connection says what follows: the next one is asked.
    if failure.unseen.is_none() && !failure.cause.is_of_connection() {
        client.health.observe_report(server, Err(failure.cause.clone()));
    }
}

#[cfg(test)]
mod tests;
