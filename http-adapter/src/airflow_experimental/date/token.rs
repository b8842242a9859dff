//! The words, numbers and signs of a date as a person writes it.

/// Cuts a text. Dots and commas belong to a number (`5.25`) or separate (`20.9.2009`, `Sep.20`): that shows only once the
/// whole is read.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            tokens.push(" ".to_owned());
            continue;
        }
        let mut token = String::from(first);
        let (mut in_word, mut has_dots) = match first {
            c if c.is_alphabetic() => (true, false),
            c if c.is_ascii_digit() => (false, false),
            _ => {
                tokens.push(token);
                continue;
            }
        };
        let mut has_letters = false;
        while let Some(&next) = chars.peek() {
            has_letters |= in_word;
            let after_dot = token.ends_with('.');
            match next {
                c if in_word && c.is_alphabetic() => {}
                c if !in_word && c.is_ascii_digit() => {}
                '.' => has_dots = true,
                ',' if !in_word && !has_dots && token.len() >= 2 => has_dots = true,
                c if has_dots && after_dot && in_word && c.is_ascii_digit() => in_word = false,
                c if has_dots && after_dot && !in_word && c.is_alphabetic() => in_word = true,
                _ => break,
            }
            token.push(next);
            chars.next();
        }
        let separates = has_letters || token.matches('.').count() > 1 || token.ends_with(['.', ',']);
        if has_dots && separates {
            for part in token.split_inclusive(['.', ',']) {
                let word = part.trim_end_matches(['.', ',']);
                tokens
                    .extend([word, &part[word.len()..]].into_iter().filter(|part| !part.is_empty()).map(str::to_owned));
            }
        } else if has_dots && !in_word && !token.contains('.') {
            tokens.push(token.replace(',', "."));
        } else {
            tokens.push(token);
        }
    }
    tokens
}

/// Letters that mean nothing by themselves.
pub(super) fn is_filler(token: &str) -> bool {
    const FILLERS: &[&str] =
        &[" ", ".", ",", ";", "-", "/", "'", "at", "on", "and", "ad", "m", "t", "of", "st", "nd", "rd", "th"];
    FILLERS.iter().any(|filler| filler.eq_ignore_ascii_case(token))
}

/// Monday is 0.
pub(super) fn weekday(token: &str) -> Option<u32> {
    const DAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    name(token, DAYS)
}

/// January is 1.
pub(super) fn month(token: &str) -> Option<u32> {
    const MONTHS: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if token.eq_ignore_ascii_case("sept") {
        return Some(9);
    }
    name(token, MONTHS).map(|month| month + 1)
}

/// A name in full or by its first three letters.
fn name(token: &str, names: &[&str]) -> Option<u32> {
    let token = token.to_ascii_lowercase();
    let place = names.iter().position(|name| token == *name || token == name[..3])?;
    u32::try_from(place).ok()
}

/// A unit of a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Hour,
    Minute,
    Second,
}

impl Unit {
    pub(super) fn read(token: &str) -> Option<Self> {
        match token.to_ascii_lowercase().as_str() {
            "h" | "hour" | "hours" => Some(Self::Hour),
            "m" | "minute" | "minutes" => Some(Self::Minute),
            "s" | "second" | "seconds" => Some(Self::Second),
            _ => None,
        }
    }

    /// What follows a number of this unit without a unit of its own, as the 30 of `10h30`.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Hour => Some(Self::Minute),
            Self::Minute => Some(Self::Second),
            Self::Second => None,
        }
    }
}

/// Whether it says that the hour is one of the second half of the day; none where it says neither.
pub(super) fn is_afternoon(token: &str) -> Option<bool> {
    match token.to_ascii_lowercase().as_str() {
        "a" | "am" => Some(false),
        "p" | "pm" => Some(true),
        _ => None,
    }
}

/// The names of UTC.
pub(super) fn is_utc(token: &str) -> bool {
    ["utc", "gmt", "z"].iter().any(|name| name.eq_ignore_ascii_case(token))
}
