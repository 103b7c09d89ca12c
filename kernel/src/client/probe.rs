//! One health check on a connection of its own: whether a server has come up.

use futures_util::future::{Either, select};

use super::{
    connection::handshake,
    failure::{Cause, Failure},
    health_check::ask_health,
};
use crate::{
    status::Code,
    time::Instant,
    world::{SharedWorld, timeout_at},
};

/// Whether `server` answers until `timeout` that it serves. It goes past every link: faults do not touch it.
pub async fn probe(world: &SharedWorld, server: &str, timeout: Instant) -> Result<(), Failure> {
    let unavailable = |cause| Failure::new(Code::Unavailable, cause);
    let ask = async {
        let stream = world.connect(server).await.map_err(|error| unavailable(Cause::from_io(&error)))?;
        let (sender, connection) = handshake(world, stream).await.map_err(unavailable)?;
        let health = std::pin::pin!(ask_health(sender, timeout.since(world.now())));
        match select(health, std::pin::pin!(connection)).await {
            Either::Left((health, _)) => health,
            Either::Right((lost, _)) => Err(unavailable(lost)),
        }
    };
    let late = |_| Err(Failure::new(Code::DeadlineExceeded, Cause::HealthCheckTimeout));
    timeout_at(&**world, timeout, ask).await.unwrap_or_else(late)
}
