//! The time for which a certificate is valid.

use jiff::civil::date;
use kernel::tls::parts::Parts;

/// Returns from when until when a certificate with these parts is valid, in seconds since 1970 (RFC 5280, section 4.1.2.5); `None` if
/// these are no times.
pub(super) fn validity(parts: &Parts<'_>) -> Option<[i64; 2]> {
    let [from, until] = parts.times.map(|(tag, text)| seconds(tag, text));
    Some([from?, until?])
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
    use kernel::{
        scenario::TlsMode,
        tls::{Presented, authority::RunCertificates, parts::parts},
    };

    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_those_that_it_was_made_with() {
        let now = 1_577_836_800;
        let run = RunCertificates::new(TlsMode::Server, ["server-0".to_owned()], now, || [7; 32]);
        let day = 86_400;
        let valid = |presented| validity(&parts(&run.of_server(0, presented).chain[0]).unwrap());
        let now = now as i64;
        assert_eq!(valid(Presented::Valid), Some([now - day, now - day + 3_650 * day]));
        assert_eq!(valid(Presented::Expired), Some([now - 2 * day, now - day]));
    }

    #[test]
    fn times_have_two_or_four_digits_of_the_year() {
        assert_eq!(seconds(0x17, b"700101000000Z"), Some(0));
        assert_eq!(seconds(0x18, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(0x17, b"7001010000Z"), None);
    }
}
