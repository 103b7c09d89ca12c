//! TLS 1.3 of the connections between client and servers.
//!
//! rustls does the work. A [`Tls`] belongs to a host: how it connects, how it accepts, and where rustls has randomness and time from, which
//! a world decides. [`TlsStream`] is a connection, above the link: faults of links, and a proxy, see encrypted bytes. There are no tickets
//! and no resumption, so each connection takes a whole handshake.
//!
//! * [`authority`] makes the certificates of a run, which `certificate` and `der` write; [`settings`] is the table of the scenario;
//! * [`parts`](mod@parts) reads certificates;
//! * `timed` measures handshakes; `stream` is a connection; [`draws`] gives rustls random bytes from named streams.

pub mod authority;
mod certificate;
mod der;
pub mod draws;
pub mod parts;
pub mod settings;
mod stream;
mod timed;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    time_provider::TimeProvider,
    version::TLS13,
};
use serde::{Deserialize, Serialize};

pub use stream::{Secured, TlsStream};
pub use timed::timed_handshake;

use crate::{
    entropy::{Entropy, RandomStream, fnv1a},
    record::AttemptId,
    world::{BoxStream, Cost, Payer, SharedWorld, Stream},
};
use stream::Charge;

/// The application protocol of HTTP/2 (RFC 9113, section 3.1).
const HTTP2: &[u8] = b"h2";

/// The name of a client's part of a handshake, as a [`Cost`].
pub const CLIENT_HANDSHAKE: &str = "tls.client_handshake";

/// The name of a server's part of a handshake, as a [`Cost`].
pub const SERVER_HANDSHAKE: &str = "tls.server_handshake";

/// A certificate with those of its issuers, and the key of the first.
#[derive(PartialEq, Eq)]
pub struct Identity {
    /// The certificate of the process, then that of its issuer, and so on.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Identity {
    /// Writes nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity of {} certificate(s)", self.chain.len())
    }
}

/// The certificate that a server presents.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presented {
    /// The right one.
    #[default]
    Valid,
    /// One that has expired.
    Expired,
    /// One of an authority that no one knows.
    Untrusted,
}

/// The sources that rustls gets from a world.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Algorithms and randomness.
    pub provider: Arc<CryptoProvider>,
    /// The time of day, which certificates are compared with.
    pub time: Arc<dyn TimeProvider>,
}

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Connecting {
    /// The authorities of servers' certificates.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The certificate that the client presents if a server asks.
    pub identity: Option<Identity>,
    /// The names that servers' certificates must have, DNS names or IP addresses, by server; that of the server by default.
    pub names: BTreeMap<String, String>,
}

/// How a server accepts connections.
#[derive(Debug, Clone)]
pub struct Accepting {
    /// The certificates that the server can present, by [`Presented`] as a number.
    pub identities: [Identity; 3],
    /// The authorities of clients' certificates, which the server demands if there are any.
    pub client_authorities: Vec<CertificateDer<'static>>,
}

/// The TLS of a host.
#[derive(Debug)]
pub struct Tls {
    connecting: Option<(Arc<ClientConfig>, BTreeMap<String, String>)>,
    accepting: Option<[Arc<ServerConfig>; 3]>,
    /// The source of random streams, and the number that keeps those of the host apart; `None` if rustls has randomness of its own.
    draws: Option<(Entropy, u64)>,
    /// Number of connections so far.
    connections: AtomicU64,
}

impl Tls {
    /// Creates the TLS of a host that connects and accepts, or does one of the two.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate cannot be used, or does not fit its key.
    pub fn new(
        sources: &Sources,
        connecting: Option<Connecting>,
        accepting: Option<Accepting>,
    ) -> Result<Self, TlsError> {
        let connecting = match connecting {
            Some(connecting) => Some((Arc::new(client_config(sources, &connecting)?), connecting.names)),
            None => None,
        };
        let accepting = match accepting {
            Some(Accepting { identities, client_authorities }) => {
                let [valid, expired, untrusted] =
                    identities.map(|identity| server_config(sources, identity, &client_authorities).map(Arc::new));
                Some([valid?, expired?, untrusted?])
            }
            None => None,
        };
        Ok(Self { connecting, accepting, draws: None, connections: AtomicU64::new(0) })
    }

    /// Returns the TLS with random bytes from `entropy`, those of the host of this name, which [`draws::fill`] passes on.
    pub fn drawing(self, entropy: Entropy, host: &str) -> Self {
        Self { draws: Some((entropy, fnv1a(host.bytes()))), ..self }
    }

    /// Returns the client's end of the connection `stream` to `server`, whose handshake has yet to begin. Without settings of a client it
    /// is `stream` itself.
    ///
    /// # Errors
    ///
    /// Returns an error if no certificate can have the name of the server.
    fn connect<S: Stream>(&self, world: &SharedWorld, server: &str, stream: S) -> Result<Secured<S>, TlsError> {
        let Some((config, names)) = &self.connecting else { return Ok(Secured::Plain(stream)) };
        let name = names.get(server).map_or(server, String::as_str).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| TlsError(Error::General(format!("no certificate can be for the name `{server}`"))))?;
        let (id, mut draws) = self.next_connection();
        let connection = draws::lend(&mut draws, || ClientConnection::new(config.clone(), name))?;
        let charge = charge(world, Payer::Client, CLIENT_HANDSHAKE, id);
        Ok(Secured::Tls(Box::new(TlsStream::new(stream, connection.into(), draws, charge))))
    }

    /// Returns the server's end of a connection that was accepted, whose handshake has yet to begin. Without certificates of servers it is
    /// `stream` itself.
    pub(crate) fn accept(&self, world: &SharedWorld, stream: BoxStream, presented: Presented) -> BoxStream {
        let Some(configs) = &self.accepting else { return stream };
        let (id, mut draws) = self.next_connection();
        let config = configs[presented as usize].clone();
        let connection = draws::lend(&mut draws, || ServerConnection::new(config));
        match connection {
            Ok(connection) => {
                let charge = charge(world, Payer::Server, SERVER_HANDSHAKE, id);
                Box::new(TlsStream::new(stream, connection.into(), draws, charge))
            }
            // rustls refuses settings that contradict each other, and these do not.
            Err(error) => unreachable!("a server's connection begins: {error}"),
        }
    }

    /// Returns what names the draws of the next connection, and its random stream if it has one.
    fn next_connection(&self) -> (AttemptId, Option<RandomStream>) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let host = self.draws.map_or(0, |(_, host)| host as u32);
        let stream = self.draws.map(|(entropy, host)| entropy.stream_of("tls.connection", &[host, number]));
        (AttemptId::of_request(number, host), stream)
    }
}

/// Returns the client's end of the connection `stream` to `server` once the handshake is complete, if the connections of `world` have TLS;
/// otherwise `stream` as it is.
///
/// # Errors
///
/// Returns the error of the handshake, of which a [`TlsError`] may be the source.
pub(crate) async fn secure<S: Stream>(world: &SharedWorld, server: &str, stream: S) -> io::Result<Secured<S>> {
    let Some(tls) = world.tls() else { return Ok(Secured::Plain(stream)) };
    let mut secured = tls.connect(world, server, stream)?;
    if let Secured::Tls(stream) = &mut secured {
        stream.handshake().await?;
    }
    Ok(secured)
}

/// Returns what a handshake costs, in a world that has a time for it. `id` names the draw.
fn charge(world: &SharedWorld, payer: Payer, what: &'static str, id: AttemptId) -> Charge {
    if !world.has_time_of(what) {
        return Charge::Nothing;
    }
    // It is on behalf of no attempt, and not the first computation of one, which the record of a call would follow.
    let cost = Cost { payer, what, units: 1, attempt: id, nth: 1 };
    Charge::Due(world.clone(), cost)
}

/// Builds the settings of rustls for a client.
fn client_config(sources: &Sources, connecting: &Connecting) -> Result<ClientConfig, TlsError> {
    let Connecting { authorities, identity, .. } = connecting;
    let builder = ClientConfig::builder_with_details(sources.provider.clone(), sources.time.clone());
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots(authorities)?);
    let mut config = match identity.clone() {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Builds the settings of rustls for a server.
fn server_config(
    sources: &Sources,
    Identity { chain, key }: Identity,
    client_authorities: &[CertificateDer<'static>],
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_details(sources.provider.clone(), sources.time.clone());
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let builder = if client_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(roots(client_authorities)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, sources.provider.clone()).build();
        builder.with_client_cert_verifier(verifier.map_err(|error| TlsError(Error::General(error.to_string())))?)
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

/// The failure of a handshake, of an encrypted connection or of its settings.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", reason(.0))]
pub struct TlsError(#[from] pub Error);

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Returns the reason of `error` in words that do not depend on the time or on the bytes of certificates.
fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the certificate is not valid yet".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "the certificate's issuer is unknown".to_owned(),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is for another name".to_owned(),
        Error::InvalidMessage(_) => "the other end does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => format!("the other end refuses it: {alert:?}"),
        Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
