//! Numbers with units: taking `1.5ms` apart and putting it together again, in whole numbers throughout, so that
//! nothing is rounded on the way.

/// Takes the leading number and the unit behind it off `text`: `1m30s` gives `1`, `m` and `30s`.
pub(crate) fn split(text: &str) -> (&str, &str, &str) {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    (number, unit, rest)
}

/// Returns `number`, such as `12` or `1.5`, times `scale`, or an error if that is not a whole number of 128 bits.
pub(crate) fn scaled(number: &str, scale: u128) -> Result<u128, NotWhole> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if [whole, fraction].iter().any(|digits| digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit())) {
        return Err(NotWhole::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    // A scale has at most 13 digits: a longer fraction of it is not whole, and its power of ten might overflow.
    let power = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX).min(30));
    let parts = format!("0{fraction}").parse::<u128>().ok().and_then(|parts| parts.checked_mul(scale));
    let parts = parts.filter(|parts| parts.is_multiple_of(power)).ok_or(NotWhole::TooFine)?;
    let whole = whole.parse::<u128>().ok().and_then(|whole| whole.checked_mul(scale)).ok_or(NotWhole::TooLarge)?;
    whole.checked_add(parts / power).ok_or(NotWhole::TooLarge)
}

/// Returns `value / scale` with as many decimals as it takes.
pub(crate) fn decimal(value: u128, scale: u128) -> String {
    let digits = scale.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / scale, value % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The reason why a number and its unit make no whole number of the base unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotWhole {
    Malformed,
    TooFine,
    TooLarge,
}
