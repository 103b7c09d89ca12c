//! Elements of the Distinguished Encoding Rules (DER, X.690), as far as certificates have them.

/// An element: its tag, length and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Der(pub(super) Vec<u8>);

/// The class of tags whose meaning depends on where they are.
pub(super) const CONTEXT: u8 = 0x80;

/// The bit of tags of elements that consist of elements.
const CONSTRUCTED: u8 = 0x20;

const SECONDS_OF_DAY: u64 = 86_400;

/// Returns the element with this tag.
pub(super) fn element(tag: u8, content: &[u8]) -> Der {
    let mut der = vec![tag];
    let length = content.len();
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        der.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[length.leading_zeros() as usize / 8..];
        der.push(0x80 | digits.len() as u8);
        der.extend_from_slice(digits);
    }
    der.extend_from_slice(content);
    Der(der)
}

pub(super) fn sequence(elements: impl IntoIterator<Item = Der>) -> Der {
    let content: Vec<u8> = elements.into_iter().flat_map(|Der(bytes)| bytes).collect();
    element(CONSTRUCTED | 0x10, &content)
}

/// A set of one element.
pub(super) fn set(only: Der) -> Der {
    element(CONSTRUCTED | 0x11, &only.0)
}

/// An element in an element of the context's class.
pub(super) fn explicit(number: u8, inner: Der) -> Der {
    element(CONTEXT | CONSTRUCTED | number, &inner.0)
}

pub(super) fn boolean(value: bool) -> Der {
    element(0x01, &[if value { 0xff } else { 0 }])
}

/// An integer, in as few bytes as two's complement allows.
pub(super) fn integer(value: u64) -> Der {
    let bytes = value.to_be_bytes();
    let digits = &bytes[(value.leading_zeros() as usize / 8).min(7)..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    element(0x02, &[sign, digits].concat())
}

/// A string of bits, the last `unused` of which do not count.
pub(super) fn bits(unused: u8, bytes: &[u8]) -> Der {
    element(0x03, &[&[unused], bytes].concat())
}

pub(super) fn octets(bytes: &[u8]) -> Der {
    element(0x04, bytes)
}

/// An object identifier, whose content is `id`.
pub(super) fn object(id: &[u8]) -> Der {
    element(0x06, id)
}

pub(super) fn text(text: &str) -> Der {
    element(0x0c, text.as_bytes())
}

/// A time, in seconds since 1970: a `UTCTime` until the end of 2049, and a `GeneralizedTime` from then on (RFC 5280, section 4.1.2.5).
pub(super) fn time(seconds: u64) -> Der {
    let (year, month, day) = date(seconds / SECONDS_OF_DAY);
    let second = seconds % SECONDS_OF_DAY;
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3_600, second / 60 % 60, second % 60);
    if year < 2050 {
        element(0x17, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        element(0x18, format!("{year:04}{rest}").as_bytes())
    }
}

/// Returns year, month and day of the day that is so many days after the first of January 1970 (the civil date of H. Hinnant's
/// `chrono`-compatible algorithms, with years that begin in March).
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // Days from the first of March of year 0 to 1970.
    let days = days + 719_468;
    let era = days / DAYS_OF_400_YEARS;
    let of_era = days % DAYS_OF_400_YEARS;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (400 * era + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_as_few_bytes_as_they_need() {
        let head = |length: usize| {
            let der = element(0x04, &vec![1; length]).0;
            der[1..der.len() - length].to_vec()
        };
        assert_eq!(head(0), [0]);
        assert_eq!(head(0x7f), [0x7f]);
        assert_eq!(head(0x80), [0x81, 0x80]);
        assert_eq!(head(0x100), [0x82, 1, 0]);
        assert_eq!(head(0x1_0000), [0x83, 1, 0, 0]);
    }

    #[test]
    fn integers_have_as_few_bytes_as_they_need_and_are_positive() {
        let content = |value| integer(value).0[2..].to_vec();
        assert_eq!(content(0), [0]);
        assert_eq!(content(1), [1]);
        assert_eq!(content(0x7f), [0x7f]);
        assert_eq!(content(0x80), [0, 0x80]);
        assert_eq!(content(0x1234), [0x12, 0x34]);
        assert_eq!(content(u64::MAX), [&[0][..], &[0xff; 8]].concat());
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let text = |seconds| String::from_utf8(time(seconds).0[2..].to_vec()).unwrap();
        assert_eq!(text(0), "700101000000Z");
        assert_eq!(text(951_782_399), "000228235959Z");
        assert_eq!(text(951_782_400), "000229000000Z", "2000 is a leap year");
        assert_eq!(text(1_709_251_199), "240229235959Z");
        assert_eq!(text(2_524_607_999), "491231235959Z");
        assert_eq!(text(2_524_608_000), "20500101000000Z");
        assert_eq!(text(4_107_542_400), "21000301000000Z", "2100 is none");
        assert_eq!(time(0).0[0], 0x17);
        assert_eq!(time(2_524_608_000).0[0], 0x18);
    }
}
