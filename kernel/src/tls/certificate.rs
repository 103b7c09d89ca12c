//! Certificates in DER (X.509 version 3, RFC 5280), with keys and signatures of Ed25519 (RFC 8410).

use std::{net::IpAddr, ops::Range};

use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};
use sha2::{Digest, Sha256};

use super::der::{self, CONTEXT, Der};

/// The bytes before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Object identifiers, in DER.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// A key of Ed25519.
pub(super) struct Key {
    /// The private key in PKCS #8.
    pub(super) pkcs8: PrivatePkcs8KeyDer<'static>,
    signing: std::sync::Arc<dyn SigningKey>,
}

impl Key {
    /// Makes a key from its 32 bytes.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &seed].concat());
        let signing = any_eddsa_type(&pkcs8).expect("any 32 bytes are a key of Ed25519");
        Self { pkcs8, signing }
    }

    /// The `SubjectPublicKeyInfo` of the key.
    fn public(&self) -> Vec<u8> {
        self.signing.public_key().expect("ring knows the public key of a key").to_vec()
    }

    /// Returns the identifier of the key: the first 20 bytes of the hash of its `SubjectPublicKeyInfo` (RFC 7093, section 2, method 4).
    fn identifier(&self) -> Vec<u8> {
        Sha256::digest(self.public())[..20].to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signer = self.signing.choose_scheme(&[SignatureScheme::ED25519]).expect("the scheme of such keys");
        signer.sign(message).expect("signing with Ed25519 does not fail")
    }
}

/// The content of a certificate beside its issuer and key.
pub(super) struct Content<'a> {
    /// The common name of the subject.
    pub(super) subject: &'a str,
    pub(super) serial: u64,
    /// The validity in seconds since 1970, both ends included.
    pub(super) valid: Range<u64>,
}

/// An authority: a certificate that is signed by its own key.
pub(super) struct Authority {
    name: String,
    key: Key,
    /// The certificate.
    pub(super) certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes an authority, which may sign certificates of processes.
    pub(super) fn new(content: &Content<'_>, key: Key) -> Self {
        // `digitalSignature` and `keyCertSign`, the bits 0 and 5 of 6.
        let extensions = [
            extension(KEY_USAGE, true, &der::bits(2, &[0b1000_0100])),
            extension(SUBJECT_KEY_IDENTIFIER, false, &der::octets(&key.identifier())),
            extension(BASIC_CONSTRAINTS, true, &der::sequence([der::boolean(true)])),
        ];
        let certificate = signed(content, &key, (content.subject, &key), extensions);
        Self { name: content.subject.to_owned(), key, certificate }
    }

    /// Makes the certificate of a process, a client or a server, for these names (`GeneralNames` in DER).
    pub(super) fn sign(&self, content: &Content<'_>, key: &Key, names: &[u8]) -> CertificateDer<'static> {
        let purposes = der::sequence([SERVER_AUTH, CLIENT_AUTH].map(der::object));
        let issuer = der::sequence([der::element(CONTEXT, &self.key.identifier())]);
        let extensions = [
            extension(AUTHORITY_KEY_IDENTIFIER, false, &issuer),
            extension(SUBJECT_ALT_NAME, false, &Der(names.to_vec())),
            extension(KEY_USAGE, true, &der::bits(7, &[0b1000_0000])),
            extension(EXTENDED_KEY_USAGE, false, &purposes),
        ];
        signed(content, key, (&self.name, &self.key), extensions)
    }
}

/// Returns these names and addresses as `GeneralNames`.
pub(super) fn general_names(names: &[&str], addresses: &[IpAddr]) -> Vec<u8> {
    let address = |address: &IpAddr| match address {
        IpAddr::V4(address) => der::element(CONTEXT | 7, &address.octets()),
        IpAddr::V6(address) => der::element(CONTEXT | 7, &address.octets()),
    };
    let names = names.iter().map(|name| der::element(CONTEXT | 2, name.as_bytes()));
    der::sequence(names.chain(addresses.iter().map(address))).0
}

/// Makes a certificate for `key`, signed by the issuer with this name and key.
fn signed(
    content: &Content<'_>,
    key: &Key,
    (issuer, issuer_key): (&str, &Key),
    extensions: impl IntoIterator<Item = Der>,
) -> CertificateDer<'static> {
    const VERSION_3: u64 = 2;
    let algorithm = || der::sequence([der::object(ED25519)]);
    let to_sign = der::sequence([
        der::explicit(0, der::integer(VERSION_3)),
        der::integer(content.serial),
        algorithm(),
        name(issuer),
        der::sequence([der::time(content.valid.start), der::time(content.valid.end)]),
        name(content.subject),
        Der(key.public()),
        der::explicit(3, der::sequence(extensions)),
    ]);
    let signature = issuer_key.sign(&to_sign.0);
    CertificateDer::from(der::sequence([to_sign, algorithm(), der::bits(0, &signature)]).0)
}

/// A distinguished name that has a common name only.
fn name(common: &str) -> Der {
    let attribute = der::sequence([der::object(COMMON_NAME), der::text(common)]);
    der::sequence([der::set(attribute)])
}

fn extension(id: &[u8], is_critical: bool, value: &Der) -> Der {
    let critical = is_critical.then(|| der::boolean(true));
    der::sequence([Some(der::object(id)), critical, Some(der::octets(&value.0))].into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        time::Duration,
    };

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber, date_time_ymd,
    };

    use super::*;

    const VALID: Range<u64> = 1_599_913_600..1_915_273_600;

    /// rcgen's certificate with this content.
    fn params(content: &Content<'_>) -> CertificateParams {
        let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let mut distinguished_name = DistinguishedName::new();
        distinguished_name.push(DnType::CommonName, content.subject);
        let mut params = CertificateParams::default();
        params.not_before = at(content.valid.start);
        params.not_after = at(content.valid.end);
        params.serial_number = Some(SerialNumber::from(content.serial));
        params.distinguished_name = distinguished_name;
        params
    }

    fn key_pair(key: &Key) -> KeyPair {
        KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8, &PKCS_ED25519).unwrap()
    }

    #[test]
    fn certificates_are_those_of_rcgen_byte_for_byte() {
        for (serial, name, valid) in
            [(1, "server-0", VALID), (0x80, "s", 0..3_000_000_000), (40_000, "server-127", VALID)]
        {
            let of_authority = Content { subject: "Rehearsal run", serial, valid: VALID };
            let authority = Authority::new(&of_authority, Key::new([7; 32]));
            let mut theirs = params(&of_authority);
            theirs.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            theirs.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
            let issuer = CertifiedIssuer::self_signed(theirs, key_pair(&authority.key)).unwrap();
            assert_eq!(authority.certificate, *issuer.der(), "{name}");

            let content = Content { subject: name, serial: serial + 1, valid };
            let (key, v4, v6) = (Key::new([serial as u8; 32]), Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
            let names = general_names(&[name, "localhost"], &[v4.into(), v6.into()]);
            let ours = authority.sign(&content, &key, &names);
            let mut theirs = params(&content);
            let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
            let addresses = [SanType::IpAddress(v4.into()), SanType::IpAddress(v6.into())];
            theirs.subject_alt_names = [dns(name), dns("localhost")].into_iter().chain(addresses).collect();
            theirs.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            theirs.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            theirs.use_authority_key_identifier_extension = true;
            let theirs = theirs.signed_by(&key_pair(&key), &issuer).unwrap();
            assert_eq!(ours, *theirs.der(), "{name}");
        }
    }
}
