//! Certificates of a run: an authority, and what it signs.
//!
//! All keys are of Ed25519, whose signatures have one length and need no randomness: the same seeds give the same bytes.

use std::{net::Ipv4Addr, net::Ipv6Addr, ops::Range, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Identity, Presented, settings::TlsMode};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Seconds for which certificates are valid, from a day before the run: longer than any run.
const VALID_SECONDS: u64 = 10 * 365 * DAY;

/// What precedes the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The certificates of a run.
#[derive(Debug, Clone)]
pub struct RunCertificates {
    /// The authority that all of them trust.
    pub authority: CertificateDer<'static>,
    /// What each server can present, by the server's index, and by [`Presented`] as a number.
    pub servers: Vec<[Identity; 3]>,
    /// What the client presents in mutual TLS.
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
        let mut serial = || serials.next().unwrap_or_default();
        let trusted = authority("Rehearsal run", serial(), seeds(), valid.clone());
        let unknown = authority("Unknown authority", serial(), seeds(), valid.clone());
        let servers = servers.into_iter().map(|name| {
            [(&trusted, &valid), (&trusted, &expired), (&unknown, &valid)]
                .map(|(issuer, valid)| leaf(issuer, &name, serial(), seeds(), valid.clone()))
        });
        let servers = servers.collect();
        let client = (mode == TlsMode::Mutual).then(|| leaf(&trusted, "client", serial(), seeds(), valid.clone()));
        Self { authority: trusted.der().clone(), servers, client }
    }

    /// Returns what the server at `index` presents while its certificate is as `presented` says.
    pub fn of_server(&self, index: usize, presented: Presented) -> &Identity {
        &self.servers[index][presented as usize]
    }
}

/// Makes a key from its 32 bytes.
fn key(seed: [u8; 32]) -> KeyPair {
    let der = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &seed].concat());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).expect("any 32 bytes are a key of Ed25519")
}

fn params(name: &str, serial: u64, valid: Range<u64>) -> CertificateParams {
    let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.not_before = at(valid.start);
    params.not_after = at(valid.end);
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name = distinguished_name;
    params
}

fn authority(name: &str, serial: u64, seed: [u8; 32], valid: Range<u64>) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name, serial, valid);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, key(seed)).expect("the parameters are those of an authority")
}

/// Makes the certificate of the process called `name`, which is on the loopback device.
fn leaf(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    serial: u64,
    seed: [u8; 32],
    valid: Range<u64>,
) -> Identity {
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("names of processes are ASCII"));
    let mut params = params(name, serial, valid);
    params.subject_alt_names = vec![
        dns(name),
        dns("localhost"),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = key(seed);
    let certificate = params.signed_by(&key, issuer).expect("the parameters are those of a process");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Identity { chain: vec![certificate.der().clone()], key }
}
