//! A probe: one health check on a connection of its own, to see that a server has come up.

use futures_util::future::{Either, select};

use super::{
    connection::handshake,
    failure::{Cause, Failure},
    health_check::ask_health,
};
use crate::{
    status::Code,
    time::Instant,
    tls,
    world::{SharedWorld, timeout_at},
};

/// Asks `server` once for its health. The probe does not use the client's links, so faults do not affect it.
///
/// # Errors
///
/// Fails if the server does not answer until `timeout` that it serves.
pub async fn probe(world: &SharedWorld, server: &str, timeout: Instant) -> Result<(), Failure> {
    let ask = async {
        let stream = world.connect(server).await.map_err(|error| unavailable(Cause::from_io(&error)))?;
        let stream = tls::secure(world, server, stream).await.map_err(|error| unavailable(Cause::from_io(&error)))?;
        let (sender, connection) = handshake(world, Box::new(stream), None).await.map_err(unavailable)?;
        // The server as a whole, whatever its services are.
        let health = std::pin::pin!(ask_health(sender, "", timeout.since(world.now())));
        // Nothing else polls the connection, which carries the request.
        match select(health, std::pin::pin!(connection)).await {
            Either::Left((health, _)) => health,
            Either::Right((lost, _)) => Err(unavailable(lost)),
        }
    };
    match timeout_at(&**world, timeout, ask).await {
        Ok(health) => health,
        Err(_) => Err(Failure::new(Code::DeadlineExceeded, Cause::HealthCheckTimeout)),
    }
}

fn unavailable(cause: Cause) -> Failure {
    Failure::new(Code::Unavailable, cause)
}
