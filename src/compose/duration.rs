//! Durations as Compose writes them (the format of Go's `time.Duration`): `1m30s`, `1.5s`, `200ms`, `0s`.

use std::time::Duration;

/// Parses a duration; `None` if the text is not one, is negative, or is too long to be represented.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let (unit, after) = split_unit(after)?;
        total = total.checked_add(scale(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.contains(|character: char| character.is_ascii_digit()).then_some((number, rest))
}

/// The nanoseconds of the unit the text begins with, and the rest.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    const UNITS: [(&str, u64); 10] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000), // U+00B5, as Go prints it.
        ("μs", 1_000), // U+03BC, which Go reads as well.
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    UNITS.iter().find_map(|&(name, nanoseconds)| Some((nanoseconds, text.strip_prefix(name)?)))
}

/// A decimal number of units of the given length. Integer arithmetic keeps it exact to the nanosecond.
fn scale(number: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = u128::from(whole) * u128::from(unit);
    let mut place = u128::from(unit);
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds += u128::from(digit - b'0') * place;
    }
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanoseconds % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}

/// Writes a duration for people: `850ms`, `2.5s`, `1m30s`, `1h5m`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 1 {
        return if duration.is_zero() { "0s".into() } else { format!("{}ms", duration.as_millis()) };
    }
    if seconds < 60 {
        let tenths = duration.subsec_millis() / 100;
        return if tenths == 0 { format!("{seconds}s") } else { format!("{seconds}.{tenths}s") };
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .into_iter()
        .filter(|&(value, _)| value > 0)
        .map(|(value, unit)| format!("{value}{unit}"))
        .collect::<Vec<_>>()
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_compose_prints() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("0", 0),
            ("200ms", 200),
            ("1s", 1_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1m30s", 90_000),
            ("2h0m0s", 7_200_000),
            ("1d", 86_400_000),
            ("1500us", 1),
        ] {
            assert_eq!(parse(text).map(|duration| duration.as_millis()), Some(milliseconds), "{text}");
        }
    }

    #[test]
    fn refuses_anything_else() {
        for text in ["", "s", "1", "-1s", "1.2.3s", "1x", " 1s", "99999999999999999999h", "1s!", "٣s", "."] {
            assert_eq!(parse(text), None, "{text}");
        }
        // Too long for a `Duration` only in sum.
        assert_eq!(parse("9999999999999999999ns").map(|duration| duration.as_secs()), Some(9_999_999_999));
    }

    #[test]
    fn formats_for_people() {
        for (milliseconds, text) in
            [(0, "0s"), (850, "850ms"), (2_000, "2s"), (2_540, "2.5s"), (90_000, "1m30s"), (3_900_000, "1h5m")]
        {
            assert_eq!(format(Duration::from_millis(milliseconds)), text);
        }
    }
}
