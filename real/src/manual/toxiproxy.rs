//! The HTTP API of toxiproxy, through which its clients steer a proxy and add further ones.
//!
//! | module | contents |
//! | --- | --- |
//! | `http` | requests and answers |
//! | `listening` | the sockets, which are closed before a client is answered |
//! | `proxies` | the proxies, as the API changes them |
//! | `toxic` | toxics, as faults of a link |
//! | `closing` | the end of connections after a time |
//! | `flow` | limits of bytes, small pieces, and late ends |

mod closing;
mod flow;
mod http;
mod listening;
mod proxies;
mod toxic;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;
use kernel::cli::Failure;
use serde_json::{Value, json};

use self::http::{Answer, Request, answer};
pub(super) use self::{
    closing::Closings,
    flow::{Flow, Flows},
    proxies::{Proxies, Toxified},
};
use crate::{accept::Door, clock::machine_ns, tcp, timer::Timer};

/// The version of toxiproxy whose API it is. Clients choose by it what they ask for.
const VERSION: &str = "2.12.0";

/// Most connections at once; further ones are closed.
const CONNECTIONS_MAX: usize = 16;

/// Time that a client may take from its connection to the end of its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket of the API.
pub(super) struct Api {
    address: SocketAddr,
    #[expect(clippy::disallowed_types, reason = "the API is not of the World: no fault applies to it")]
    listener: tokio::net::TcpListener,
}

/// Why a request is not carried out, with the status of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    status: u16,
    reason: String,
}

impl Refused {
    fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl Api {
    /// Listens at `address`, or at a free port of its host if its port is 0.
    pub(super) fn listen(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| {
            let port = address.port();
            Failure::run_failed(format!(
                "cannot serve toxiproxy's API at {address}: {error}; `ss -ltnp 'sport = :{port}'` says what has the port, or choose another \
                 --toxiproxy, such as 0 for a free one"
            ))
        };
        let listener = tcp::listener(address, CONNECTIONS_MAX as u32).map_err(failed)?;
        let address = listener.local_addr().map_err(Failure::run_failed)?;
        Ok(Self { address, listener })
    }

    /// The address, with the port that was chosen.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers clients for ever.
    pub(super) async fn serve(self, proxies: Arc<Proxies>) {
        let timer: Timer = proxies.timer();
        let mut door = Door::new(CONNECTIONS_MAX, timer.clone());
        // It fails only if the socket does not listen.
        while let Ok(((mut client, _), place)) = door.next(|cx| self.listener.poll_accept(cx), drop).await {
            let late = timer.sleep_until(machine_ns() + CLIENT_TIMEOUT.as_nanos() as u64);
            let world = proxies.world();
            let proxies = proxies.clone();
            world.spawn(Box::pin(async move {
                let answering = pin!(answer(&mut client, |request| respond(&proxies, &request)));
                // What is not answered by then is closed with the connection.
                let _ = select(answering, late).await;
                drop(place);
            }));
        }
    }
}

/// Carries a request out.
fn respond(proxies: &Proxies, request: &Request) -> Answer {
    // As toxiproxy does: a page in a browser must not steer what listens on the loopback device.
    if request.agent.starts_with("Mozilla/") {
        return Answer::refused(&Refused::new(403, "User agent not allowed"));
    }
    let path = request.path.split('?').next().unwrap_or_default();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(http::decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let is_change = matches!(&*request.method, "POST" | "PATCH");
    let done = match (&*request.method, parts.as_slice()) {
        ("GET", ["version"]) => Ok((200, json!({ "version": VERSION }))),
        ("GET", ["proxies"]) => Ok((200, proxies.index())),
        ("POST", ["proxies"]) => request.json().and_then(|body| proxies.create(&body)).map(|proxy| (201, proxy)),
        ("POST", ["populate"]) => request.json().and_then(|body| proxies.populate(&body)).map(|body| (201, body)),
        ("POST", ["reset"]) => proxies.reset().map(|()| (204, Value::Null)),
        ("GET", ["proxies", proxy]) => proxies.show(proxy).map(|proxy| (200, proxy)),
        (_, ["proxies", proxy]) if is_change => {
            request.json().and_then(|body| proxies.update(proxy, &body)).map(|proxy| (200, proxy))
        }
        ("DELETE", ["proxies", proxy]) => proxies.delete(proxy).map(|()| (204, Value::Null)),
        ("GET", ["proxies", proxy, "toxics"]) => proxies.toxics(proxy).map(|toxics| (200, toxics)),
        ("POST", ["proxies", proxy, "toxics"]) => {
            request.json().and_then(|body| proxies.add_toxic(proxy, &body)).map(|toxic| (200, toxic))
        }
        ("GET", ["proxies", proxy, "toxics", toxic]) => proxies.toxic(proxy, toxic).map(|toxic| (200, toxic)),
        (_, ["proxies", proxy, "toxics", toxic]) if is_change => {
            request.json().and_then(|body| proxies.update_toxic(proxy, toxic, &body)).map(|toxic| (200, toxic))
        }
        ("DELETE", ["proxies", proxy, "toxics", toxic]) => {
            proxies.remove_toxic(proxy, toxic).map(|()| (204, Value::Null))
        }
        (method, _) => Err(Refused::new(404, format!("there is no {method} {path}"))),
    };
    match done {
        Ok((status, body)) => Answer::done(status, &body),
        Err(refused) => Answer::refused(&refused),
    }
}
