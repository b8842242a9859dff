//! The formats that Airflow's checker knows, as strict and as lax as there.

use chrono::NaiveDate;

/// RFC 3339 with `T` and an offset. Lower case is fine, a leap second is not.
pub(super) fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked(19) else {
        return false;
    };
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = head.iter().zip(shape).all(|(byte, mark)| match mark {
        b'd' => byte.is_ascii_digit(),
        mark => byte.eq_ignore_ascii_case(mark),
    });
    if !fits {
        return false;
    }
    let number =
        |from: usize, to: usize| head[from..to].iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let date = i32::try_from(number(0, 4)).ok().filter(|year| *year > 0);
    let date = date.and_then(|year| NaiveDate::from_ymd_opt(year, number(5, 7), number(8, 10)));
    date.is_some() && number(11, 13) < 24 && number(14, 16) < 60 && number(17, 19) < 60 && is_fraction_and_offset(tail)
}

fn is_fraction_and_offset(tail: &[u8]) -> bool {
    let offset = match tail {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &rest[digits..]
        }
        rest => rest,
    };
    match offset {
        [b'z' | b'Z'] => true,
        [b'+' | b'-', h @ b'0'..=b'2', h2, b':', b'0'..=b'5', m] => {
            h2.is_ascii_digit() && (*h < b'2' || *h2 < b'4') && m.is_ascii_digit()
        }
        _ => false,
    }
}

/// Anything with an `@`, as in Python's checker.
pub(super) fn is_email(text: &str) -> bool {
    text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times_need_a_time_and_an_offset() {
        for good in [
            "2024-03-01T00:00:00Z",
            "2024-03-01t00:00:00z",
            "2024-02-29T23:59:59.123456789+23:59",
            "0001-01-01T00:00:00-00:00",
        ] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "",
            "x",
            "2024-03-01",
            "2024-03-01T00:00:00",
            "2024-03-01 00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2024-03-01T24:00:00Z",
            "2024-03-01T00:00:60Z",
            "2024-03-01T00:00:00.Z",
            "2024-03-01T00:00:00+24:00",
            "0000-01-01T00:00:00Z",
            "2024-03-01T00:00:00 00:00",
            "2024-13-01T00:00:00Z",
            "2024-03-01T00:00:00+0000",
            "２024-03-01T00:00:00Z",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }
}
