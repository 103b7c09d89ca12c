//! The time for which a certificate is valid.

use jiff::civil::date;

/// Returns from when until when a certificate in DER is valid, in seconds since 1970 (RFC 5280, section 4.1.2.5); `None` if it is no
/// certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // The version may be left out; then serial number, algorithm and issuer.
    let fields = if rest.first() == Some(&0xa0) { 4 } else { 3 };
    for _ in 0..fields {
        rest = element(rest)?.2;
    }
    let (_, times, _) = element(rest)?;
    let (tag, from, rest) = element(times)?;
    let (other, until, _) = element(rest)?;
    Some((seconds(tag, from)?, seconds(other, until)?))
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

/// Returns the time of a `UTCTime`, `YYMMDDHHMMSSZ`, or of a `GeneralizedTime`, whose year has four digits.
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == 0x17 { 2 } else { 4 })?;
    let year: i16 = year.parse().ok()?;
    let year = match tag {
        0x17 if year >= 50 => 1900 + year,
        0x17 => 2000 + year,
        _ => year,
    };
    let part = |index: usize| rest.get(2 * index..2 * index + 2)?.parse::<i8>().ok();
    let day = jiff::civil::Date::new(year, part(0)?, part(1)?).ok()?;
    let time = jiff::civil::Time::new(part(2)?, part(3)?, part(4)?, 0).ok()?;
    let since = day.to_datetime(time).duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use kernel::{scenario::TlsMode, tls::Presented, tls::authority::RunCertificates};

    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_those_that_it_was_made_with() {
        let now = 1_577_836_800;
        let run = RunCertificates::new(TlsMode::Server, ["server-0".to_owned()], now, || [7; 32]);
        let day = 86_400;
        let valid = |presented| validity(&run.of_server(0, presented).chain[0]);
        let now = now as i64;
        assert_eq!(valid(Presented::Valid), Some((now - day, now - day + 3_650 * day)));
        assert_eq!(valid(Presented::Expired), Some((now - 2 * day, now - day)));
    }

    #[test]
    fn what_is_no_certificate_has_no_times() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x05", &[0x30; 40]] {
            assert_eq!(validity(bytes), None, "{bytes:?}");
        }
        assert_eq!(seconds(0x17, b"700101000000Z"), Some(0));
        assert_eq!(seconds(0x18, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(0x17, b"7001010000Z"), None);
    }
}
