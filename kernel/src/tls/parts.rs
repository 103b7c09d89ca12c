//! Parts of a certificate that is read (X.509, RFC 5280, section 4.1).

use super::certificate::SUBJECT_ALT_NAME;

/// The tag of a string of bytes.
const OCTETS: u8 = 0x04;

/// The tag of the extensions.
const EXTENSIONS: u8 = 0xa3;

/// The parts of a certificate that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The times from which and until which it is valid, each as the tag and the content of its element.
    pub times: [(u8, &'a [u8]); 2],
    /// The names that it is for, `GeneralNames` in DER, if it has any.
    pub names: Option<&'a [u8]>,
}

/// Returns the parts of a certificate in DER, or `None` if it is no certificate.
pub fn parts(certificate: &[u8]) -> Option<Parts<'_>> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // The version may be left out; then serial number, algorithm and issuer.
    let fields = if rest.first() == Some(&0xa0) { 4 } else { 3 };
    for _ in 0..fields {
        rest = element(rest)?.2;
    }
    let (_, times, mut rest) = element(rest)?;
    let (from_tag, from, until) = element(times)?;
    let (until_tag, until, _) = element(until)?;
    let mut names = None;
    // Subject, key and identifiers, then the extensions.
    while let Some((tag, content, after)) = element(rest) {
        if tag == EXTENSIONS {
            names = alternative_names(element(content)?.1);
        }
        rest = after;
    }
    Some(Parts { times: [(from_tag, from), (until_tag, until)], names })
}

/// Returns the content of the extension `subjectAltName`.
fn alternative_names(mut extensions: &[u8]) -> Option<&[u8]> {
    while let Some((_, extension, after)) = element(extensions) {
        let (_, id, value) = element(extension)?;
        if id == SUBJECT_ALT_NAME {
            // Whether it is critical comes first, if it is there.
            let (tag, content, rest) = element(value)?;
            return if tag == OCTETS { Some(content) } else { element(rest).map(|(_, content, _)| content) };
        }
        extensions = after;
    }
    None
}

/// Returns the tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|digits| digits.len() <= 4)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = &rest[count..];
    }
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Presented, authority::RunCertificates, certificate::general_names, settings::TlsMode},
        *,
    };

    #[test]
    fn the_times_and_names_of_a_certificate_are_those_that_it_was_made_with() {
        let run = RunCertificates::new(TlsMode::Server, ["server-0".to_owned()], 1_577_836_800, || [7; 32]);
        let certificate = &run.of_server(0, Presented::Valid).chain[0];
        let loopback = [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
        let names = general_names(&["server-0", "localhost"], &loopback);
        let times = [(0x17, &b"191231000000Z"[..]), (0x17, b"291228000000Z")];
        assert_eq!(parts(certificate), Some(Parts { times, names: Some(&names) }));
        assert_eq!(parts(&run.authority).map(|parts| parts.names), Some(None), "an authority has no names");
    }

    #[test]
    fn what_is_no_certificate_has_no_parts() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x05", &[0x30; 40]] {
            assert_eq!(parts(bytes), None, "{bytes:?}");
        }
    }
}
