//! Certificates of a run: an authority, and what it signs.
//!
//! All keys are of Ed25519, whose signatures have one length and need no randomness: the same seeds give the same bytes.

use std::{net::Ipv4Addr, net::Ipv6Addr, ops::Range};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    Identity, Presented,
    certificate::{Authority, Content, Key},
    settings::TlsMode,
};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Seconds for which certificates are valid, from a day before the run: longer than any run.
const VALID_SECONDS: u64 = 10 * 365 * DAY;

/// The certificates of a run.
#[derive(Debug, Clone)]
pub struct RunCertificates {
    /// The authority that all of them trust.
    pub authority: CertificateDer<'static>,
    /// The certificates that each server can present, by the server's index, and by [`Presented`] as a number.
    pub servers: Vec<[Identity; 3]>,
    /// The certificate that the client presents in mutual TLS.
    pub client: Option<Identity>,
}

impl RunCertificates {
    /// Makes the certificates of a run that begins `now`, in seconds since 1970, for the servers of these names. Each key is 32 bytes of
    /// `seeds`.
    pub fn new(
        mode: TlsMode,
        servers: impl IntoIterator<Item = String>,
        now: u64,
        mut seeds: impl FnMut() -> [u8; 32],
    ) -> Self {
        let valid = now - DAY..now - DAY + VALID_SECONDS;
        let expired = now - 2 * DAY..now - DAY;
        let mut serials = 1..;
        let mut next = || (serials.next().unwrap_or_default(), Key::new(seeds()));
        let mut authority = |name: &str| {
            let (serial, key) = next();
            Authority::new(&Content { subject: name, serial, valid: valid.clone() }, key)
        };
        let [trusted, unknown] = ["Rehearsal run", "Unknown authority"].map(&mut authority);
        let mut leaf = |issuer: &Authority, name: &str, valid: &Range<u64>| {
            let (serial, key) = next();
            leaf(issuer, &Content { subject: name, serial, valid: valid.clone() }, key)
        };
        let servers = servers.into_iter().map(|name| {
            [(&trusted, &valid), (&trusted, &expired), (&unknown, &valid)]
                .map(|(issuer, valid)| leaf(issuer, &name, valid))
        });
        let servers = servers.collect();
        let client = (mode == TlsMode::Mutual).then(|| leaf(&trusted, "client", &valid));
        Self { authority: trusted.certificate, servers, client }
    }

    /// Returns what the server at `index` presents while its certificate is as `presented` says.
    pub fn of_server(&self, index: usize, presented: Presented) -> &Identity {
        &self.servers[index][presented as usize]
    }
}

/// Makes the certificate of the process that `content` names, which is on the loopback device.
fn leaf(issuer: &Authority, content: &Content<'_>, key: Key) -> Identity {
    let names = [content.subject, "localhost"];
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let certificate = issuer.sign(content, &key, &names, &addresses);
    Identity { chain: vec![certificate], key: PrivateKeyDer::Pkcs8(key.pkcs8) }
}
