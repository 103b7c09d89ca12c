//! Certificates of a run: an authority, and what it signs; and those that stand in for a user's while a fault lasts.
//!
//! All keys are of Ed25519, whose signatures have one length and need no randomness: the same seeds give the same bytes.

use std::{net::Ipv4Addr, net::Ipv6Addr, ops::Range};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    Identity, Presented,
    certificate::{Authority, Content, Key, general_names},
    parts::parts,
    settings::TlsMode,
};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Seconds for which certificates are valid, from a day before the run: longer than any run.
const VALID_SECONDS: u64 = 10 * 365 * DAY;

/// The name of the authority that no one knows.
const UNKNOWN: &str = "Unknown authority";

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
        let [valid, expired] = times(now);
        let mut serials = 1..;
        let mut next = || (serials.next().unwrap_or_default(), Key::new(seeds()));
        let mut authority = |name: &str| {
            let (serial, key) = next();
            Authority::new(&Content { subject: name, serial, valid: valid.clone() }, key)
        };
        let [trusted, unknown] = ["Rehearsal run", UNKNOWN].map(&mut authority);
        // Processes are on the loopback device.
        let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let mut leaf = |issuer: &Authority, name: &str, valid: &Range<u64>| {
            let (serial, key) = next();
            let names = general_names(&[name, "localhost"], &addresses);
            leaf(issuer, &Content { subject: name, serial, valid: valid.clone() }, key, &names)
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

/// Makes what a server presents while a fault of its certificate lasts: a certificate that has expired and one that has not, both for the
/// names of `certificate` and of an authority that no one knows. `now` is in seconds since 1970; each key is 32 bytes of `seeds`.
///
/// Returns `None` if `certificate` is no certificate, or has no names (`subjectAltName`).
pub fn stand_ins(
    certificate: &CertificateDer<'_>,
    now: u64,
    mut seeds: impl FnMut() -> [u8; 32],
) -> Option<[Identity; 2]> {
    let names = parts(certificate)?.names?;
    let [valid, expired] = times(now);
    let content = |serial, subject, valid: &Range<u64>| Content { subject, serial, valid: valid.clone() };
    let unknown = Authority::new(&content(1, UNKNOWN, &valid), Key::new(seeds()));
    let mut serials = 2..;
    Some([expired, valid].map(|valid| {
        let serial = serials.next().unwrap_or_default();
        leaf(&unknown, &content(serial, "Stand-in", &valid), Key::new(seeds()), names)
    }))
}

/// Returns the times of certificates that are valid at `now`, and of those that have expired.
fn times(now: u64) -> [Range<u64>; 2] {
    [now - DAY..now - DAY + VALID_SECONDS, now - 2 * DAY..now - DAY]
}

/// Makes the certificate of the process that `content` names, for `names`.
fn leaf(issuer: &Authority, content: &Content<'_>, key: Key, names: &[u8]) -> Identity {
    let certificate = issuer.sign(content, &key, names);
    Identity { chain: vec![certificate], key: PrivateKeyDer::Pkcs8(key.pkcs8) }
}
