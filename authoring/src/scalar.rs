//! What a plain scalar means in YAML 1.1, as PyYAML reads it.

use chrono::{NaiveDate, NaiveDateTime};

use crate::node::Data;

/// The value of a plain scalar, or what is wrong with it.
pub(crate) fn resolve(text: &str) -> Result<Data, String> {
    if let Some(data) = null_or_bool(text) {
        return Ok(data);
    }
    match text.bytes().next() {
        Some(b'-' | b'+' | b'.' | b'0'..=b'9') => {}
        _ => return Ok(Data::Str(text.into())),
    }
    if let Some(data) = int(text)? {
        return Ok(data);
    }
    if let Some(value) = float(text) {
        return Ok(Data::Float(value));
    }
    match timestamp(text) {
        Some(Some(data)) => Ok(data),
        Some(None) => Err(format!("{text:?} is not a date that exists")),
        None => Ok(Data::Str(text.into())),
    }
}

pub(crate) fn null_or_bool(text: &str) -> Option<Data> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Data::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Data::Bool(false),
        _ => return None,
    })
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

/// `Ok(None)` if the text is no integer.
pub(crate) fn int(text: &str) -> Result<Option<Data>, String> {
    let (negative, digits) = unsigned(text);
    let plain = digits.replace('_', "");
    let invalid = || format!("{text:?} is not a number");
    let (radix, number) = if let Some(rest) =
        digits.strip_prefix("0b").filter(|r| all(r, |c| matches!(c, b'0' | b'1' | b'_')))
    {
        (2, rest)
    } else if let Some(rest) = digits.strip_prefix("0x").filter(|r| all(r, |c| c.is_ascii_hexdigit() || c == b'_')) {
        (16, rest)
    } else if digits == "0" {
        (10, digits)
    } else if digits.starts_with('0') && all(&digits[1..], |c| matches!(c, b'0'..=b'7' | b'_')) {
        (8, digits)
    } else if digits.starts_with(|c: char| ('1'..='9').contains(&c)) && all(digits, |c| c.is_ascii_digit() || c == b'_')
    {
        (10, digits)
    } else {
        return Ok(base_60(digits).map(|value| Data::Int(if negative { -value } else { value })));
    };
    let number = if radix == 10 { plain } else { number.replace('_', "") };
    if number.is_empty() {
        return Err(invalid());
    }
    let magnitude = match i128::from_str_radix(&number, radix) {
        Ok(value) => value,
        Err(_) if radix == 10 => {
            return Ok(Some(Data::BigInt(format!("{}{number}", if negative { "-" } else { "" }))));
        }
        Err(_) => return Err(invalid()),
    };
    let value = if negative { -magnitude } else { magnitude };
    Ok(Some(i64::try_from(value).map_or_else(|_| Data::BigInt(value.to_string()), Data::Int)))
}

/// Integers such as `1:30` count in sixties.
fn base_60(digits: &str) -> Option<i64> {
    let mut parts = digits.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| ('1'..='9').contains(&c)) || !all(first, |c| c.is_ascii_digit() || c == b'_') {
        return None;
    }
    let mut value: i64 = first.replace('_', "").parse().ok()?;
    let mut count = 0;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(sixtieth(part)?)?;
        count += 1;
    }
    (count > 0).then_some(value)
}

fn sixtieth(part: &str) -> Option<i64> {
    match part.as_bytes() {
        [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'] => part.parse().ok(),
        _ => None,
    }
}

pub(crate) fn float(text: &str) -> Option<f64> {
    let (negative, rest) = unsigned(text);
    let sign = if negative { -1.0 } else { 1.0 };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return (rest.len() == text.len()).then_some(f64::NAN),
        _ => {}
    }
    let signed = rest.len() != text.len();
    let (whole, fraction) = rest.split_once('.')?;
    if let Some((minutes, last)) = whole.rsplit_once(':') {
        let value = base_60(&format!("{minutes}:{last}")).or_else(|| {
            let mut parts = whole.split(':');
            let first = parts.next().filter(|first| all(first, |c| c.is_ascii_digit() || c == b'_'))?;
            parts.try_fold(first.replace('_', "").parse::<i64>().ok()?, |sum, part| Some(sum * 60 + sixtieth(part)?))
        })?;
        if !fraction.bytes().all(|c| c.is_ascii_digit() || c == b'_') {
            return None;
        }
        let fraction: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
        #[allow(clippy::cast_precision_loss, reason = "a float is what was written")]
        return Some(sign * (value as f64 + fraction));
    }
    let (digits, exponent) = match fraction.find(['e', 'E']) {
        Some(at) => (&fraction[..at], Some(&fraction[at + 1..])),
        None => (fraction, None),
    };
    // An exponent counts only with a sign.
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+'])?;
        if !all(digits, |c| c.is_ascii_digit()) {
            return None;
        }
    }
    let is_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    let well_formed = if whole.is_empty() {
        !signed && digits.starts_with(|c: char| c.is_ascii_digit()) && is_digits(digits)
    } else {
        whole.starts_with(|c: char| c.is_ascii_digit()) && is_digits(whole) && is_digits(digits)
    };
    if !well_formed {
        return None;
    }
    let text = rest.replace('_', "");
    text.parse::<f64>().ok().map(|value| sign * value)
}

/// `Some(None)` for what looks like a date but is none.
fn timestamp(text: &str) -> Option<Option<Data>> {
    let bytes = text.as_bytes();
    let digits = |from: usize, most: usize| {
        bytes[from.min(bytes.len())..].iter().take(most).take_while(|c| c.is_ascii_digit()).count()
    };
    if digits(0, 4) != 4 || bytes.get(4) != Some(&b'-') {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
    let month_end = 5 + digits(5, 2);
    if month_end == 5 || bytes.get(month_end) != Some(&b'-') {
        return None;
    }
    let day_end = month_end + 1 + digits(month_end + 1, 2);
    if day_end == month_end + 1 {
        return None;
    }
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5, month_end)?, number(month_end + 1, day_end)?);
    if day_end == bytes.len() {
        // A bare date has two digits everywhere.
        return (day_end == 10).then(|| date.map(Data::Date));
    }
    let rest = &text[day_end..];
    let clock = match rest.as_bytes()[0] {
        b'T' | b't' => &rest[1..],
        b' ' | b'\t' => rest.trim_start_matches([' ', '\t']),
        _ => return None,
    };
    let (hour, minute_second) = clock.split_once(':')?;
    if !matches!(hour.len(), 1 | 2) || !all(hour, |c| c.is_ascii_digit()) {
        return None;
    }
    let (minute, second) = minute_second.split_once(':')?;
    if minute.len() != 2 || second.len() < 2 || !second.is_char_boundary(2) {
        return None;
    }
    let (second, mut tail) = second.split_at(2);
    if !all(minute, |c| c.is_ascii_digit()) || !all(second, |c| c.is_ascii_digit()) {
        return None;
    }
    let mut micros = 0;
    if let Some(fraction) = tail.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        micros = format!("{:0<6.6}", &fraction[..length]).parse::<u32>().ok()?;
        tail = &fraction[length..];
    }
    let zone = tail.trim_start_matches([' ', '\t']);
    let offset = match zone {
        "" if tail.is_empty() => None,
        "" => return None,
        "Z" => Some(0),
        _ => Some(offset(zone)?),
    };
    // An offset of a day or more does not exist.
    let date = date.filter(|_| offset.is_none_or(|seconds| seconds.abs() < 86_400));
    let at = date.and_then(|date| {
        date.and_hms_micro_opt(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, micros)
    });
    Some(at.map(|at: NaiveDateTime| Data::DateTime(at, offset)))
}

fn offset(zone: &str) -> Option<i32> {
    let (negative, rest) = match zone.as_bytes()[0] {
        b'-' => (true, &zone[1..]),
        b'+' => (false, &zone[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    if !matches!(hours.len(), 1 | 2)
        || minutes.len() != 2
        || !all(hours, |c| c.is_ascii_digit())
        || !all(minutes, |c| c.is_ascii_digit())
    {
        return None;
    }
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(if negative { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn scalars_mean_what_pyyaml_says() {
        let cases = [
            ("yes", Data::Bool(true)),
            ("Off", Data::Bool(false)),
            ("y", Data::Str("y".into())),
            ("~", Data::Null),
            ("none", Data::Str("none".into())),
            ("0", Data::Int(0)),
            ("-17", Data::Int(-17)),
            ("017", Data::Int(15)),
            ("0o17", Data::Str("0o17".into())),
            ("09", Data::Str("09".into())),
            ("0x_fF", Data::Int(255)),
            ("0b101", Data::Int(5)),
            ("1_000", Data::Int(1000)),
            ("1:30", Data::Int(90)),
            ("1:60", Data::Str("1:60".into())),
            ("99999999999999999999", Data::BigInt("99999999999999999999".into())),
            ("1.", Data::Float(1.0)),
            (".5", Data::Float(0.5)),
            ("-.5", Data::Str("-.5".into())),
            ("1e3", Data::Str("1e3".into())),
            ("1.5e+3", Data::Float(1500.0)),
            ("1.5e3", Data::Str("1.5e3".into())),
            ("1:30.5", Data::Float(90.5)),
            ("-.inf", Data::Float(f64::NEG_INFINITY)),
            ("2024-01-02", Data::Date(date(2024, 1, 2))),
            ("2024-1-2", Data::Str("2024-1-2".into())),
            ("2024-1-2 3:04:05", Data::DateTime(date(2024, 1, 2).and_hms_opt(3, 4, 5).unwrap(), None)),
            (
                "2024-01-02T03:04:05.5Z",
                Data::DateTime(date(2024, 1, 2).and_hms_milli_opt(3, 4, 5, 500).unwrap(), Some(0)),
            ),
            ("2024-01-02 03:04:05 -1:30", Data::DateTime(date(2024, 1, 2).and_hms_opt(3, 4, 5).unwrap(), Some(-5400))),
            ("2024-01-02 03:04", Data::Str("2024-01-02 03:04".into())),
            ("- 1", Data::Str("- 1".into())),
            ("1.2.3", Data::Str("1.2.3".into())),
            ("0 */6 * * *", Data::Str("0 */6 * * *".into())),
        ];
        for (text, data) in cases {
            assert_eq!(resolve(text), Ok(data), "{text}");
        }
        assert!(resolve("2024-02-30").is_err());
        assert!(resolve("2024-01-02 25:00:00").is_err());
        assert!(resolve("0x_").is_err());
    }

    #[test]
    fn random_scalars_mean_what_pyyaml_says() {
        let text = include_str!("../tests/data/yaml-scalars.json");
        let cases: Vec<(String, String, String)> = serde_json::from_str(text).unwrap();
        let mut wrong = Vec::new();
        for (text, kind, value) in cases {
            let found = match resolve(&text) {
                Err(_) => ("error", String::new()),
                Ok(Data::Null) => ("null", String::new()),
                Ok(Data::Bool(value)) => ("bool", value.to_string()),
                Ok(Data::Int(value)) => ("int", value.to_string()),
                Ok(Data::BigInt(digits)) => ("int", digits),
                Ok(Data::Float(value)) => ("float", crate::dump::python_float(value)),
                Ok(Data::Str(text)) => ("str", text),
                Ok(Data::Date(date)) => ("date", date.to_string()),
                Ok(Data::DateTime(at, offset)) => ("datetime", crate::date::isoformat(at, offset)),
                Ok(other) => panic!("{other:?} is no scalar"),
            };
            if found != (kind.as_str(), value.clone()) {
                wrong.push((text, kind, value, found));
            }
        }
        assert!(wrong.is_empty(), "{} of them: {:#?}", wrong.len(), &wrong[..wrong.len().min(30)]);
    }
}
