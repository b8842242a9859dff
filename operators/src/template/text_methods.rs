//! The methods of Python's str, as the engine's callback for values that are no objects; and of tuples.

use minijinja::value::Tuple;
use minijinja::{Error, State, Value};

use super::args::{Args, flag, integer, needed, text};
use super::error::invalid;
use super::object::{List, tuple};
use super::python::{self, type_name};
use super::text_format;
use super::work::spend;

/// The methods of what is no object of ours.
pub(super) fn call(state: &mut State, value: &Value, method: &str, values: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let text = text.to_owned();
        spend(state, text.len())?;
        return text_method(state, &text, method, values);
    }
    if let Some(items) = value.downcast_object_ref::<Tuple>()
        && matches!(method, "index" | "count")
    {
        return super::list_methods::search(state, items, method, Args::new(values));
    }
    if value.as_bytes().is_some() && method == "decode" {
        return Ok(Value::from(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()));
    }
    if method == "is_integer"
        && let Some(float) = python::number(value)
    {
        return Ok(Value::from(float.fract() == 0.0));
    }
    if method == "bit_length"
        && let Some(integer) = python::integer(value)
    {
        return Ok(Value::from(128 - integer.unsigned_abs().leading_zeros()));
    }
    // The engine's own objects: an attribute that can be called.
    if let Some(found) = value.as_object().and_then(|object| object.get_value(&Value::from(method))) {
        return found.call(state, values);
    }
    Err(python::no_attribute(value, method))
}

fn text_method(state: &mut State, this: &str, method: &str, values: &[Value]) -> Result<Value, Error> {
    let args = Args::new(values);
    let plain = |args: Args, result: Value| {
        args.bind::<0>(&format!("str.{method}"), [])?;
        Ok(result)
    };
    let all = |test: fn(char) -> bool| Value::from(!this.is_empty() && this.chars().all(test));
    match method {
        "upper" => plain(args, Value::from(this.to_uppercase())),
        "lower" => plain(args, Value::from(this.to_lowercase())),
        "casefold" => plain(args, Value::from(this.to_lowercase().replace('ß', "ss"))),
        "title" => plain(args, Value::from(title(this))),
        "capitalize" => plain(args, Value::from(capitalize(this))),
        "swapcase" => {
            let swapped = this.chars().flat_map(|c| match c.is_uppercase() {
                true => c.to_lowercase().collect::<Vec<_>>(),
                false => c.to_uppercase().collect(),
            });
            plain(args, Value::from(swapped.collect::<String>()))
        }
        "isdigit" | "isdecimal" => plain(args, all(|c| c.is_numeric() && is_decimal(c))),
        "isnumeric" => plain(args, all(char::is_numeric)),
        "isalpha" => plain(args, all(char::is_alphabetic)),
        "isalnum" => plain(args, all(char::is_alphanumeric)),
        "isspace" => plain(args, all(char::is_whitespace)),
        "isascii" => plain(args, Value::from(this.is_ascii())),
        "isprintable" => plain(args, Value::from(this.chars().all(updraft_core::python::is_printable))),
        "isupper" => plain(args, Value::from(is_case(this, char::is_uppercase, char::is_lowercase))),
        "islower" => plain(args, Value::from(is_case(this, char::is_lowercase, char::is_uppercase))),
        "istitle" => plain(args, Value::from(this.chars().any(char::is_alphabetic) && title(this) == this)),
        "isidentifier" => {
            let starts = this.starts_with(|c: char| c == '_' || c.is_alphabetic());
            plain(args, Value::from(starts && this.chars().all(|c| c == '_' || c.is_alphanumeric())))
        }
        "strip" | "lstrip" | "rstrip" => strip(this, args, method),
        "split" => split(this, args),
        "rsplit" => rsplit(this, args),
        "splitlines" => {
            let [keep] = args.bind("splitlines", ["keepends"])?;
            Ok(List::flat(lines(this, flag(keep)).into_iter().map(Value::from).collect()))
        }
        "partition" | "rpartition" => {
            let separator = text(&args.one(method)?, method)?;
            if separator.is_empty() {
                return Err(invalid("empty separator"));
            }
            let found = if method == "partition" { this.split_once(&separator) } else { this.rsplit_once(&separator) };
            let parts = match found {
                Some((before, after)) => [before, &separator, after],
                None if method == "partition" => [this, "", ""],
                None => ["", "", this],
            };
            Ok(tuple(parts.map(Value::from).to_vec()))
        }
        "replace" => {
            let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
            let old = text(&needed(old, "replace", "old")?, "replace")?;
            let new = text(&needed(new, "replace", "new")?, "replace")?;
            replace(state, this, &old, &new, integer(count, -1)?).map(Value::from)
        }
        "startswith" | "endswith" => affix(state, this, args, method),
        "find" | "rfind" | "index" | "rindex" | "count" => search(this, args, method),
        "join" => {
            let items = python::iterate(state, &args.one("join")?)?;
            let mut out = String::new();
            for (index, item) in items.iter().enumerate() {
                let Some(part) = item.as_str() else {
                    let found = type_name(item);
                    return Err(invalid(format!("sequence item {index}: expected str instance, {found} found")));
                };
                if index > 0 {
                    out.push_str(this);
                }
                out.push_str(part);
                spend(state, part.len() + this.len())?;
            }
            Ok(Value::from(out))
        }
        "format" => text_format::braces(state, this, &args.positional, &args.named).map(Value::from),
        "format_map" => {
            let source = args.one("format_map")?;
            let named =
                super::dict_methods::entries_of(state, Args { positional: vec![source], named: vec![] }, "dict")?;
            let named: Vec<_> = named.into_iter().map(|(key, value)| (key.0.to_string(), value)).collect();
            text_format::braces(state, this, &[], &named).map(Value::from)
        }
        "zfill" => {
            let width = integer(Some(args.one("zfill")?), 0)?;
            let (sign, digits) = match this.strip_prefix(['-', '+']) {
                Some(digits) => (&this[..1], digits),
                None => ("", this),
            };
            let fill = fill_length(state, this, width)?;
            Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(fill))))
        }
        "ljust" | "rjust" | "center" => {
            let [width, fill] = args.bind(method, ["width", "fillchar"])?;
            let width = integer(Some(needed(width, method, "width")?), 0)?;
            let fill = fill.map_or(Ok(" ".to_owned()), |fill| text(&fill, method))?;
            if fill.chars().count() != 1 {
                return Err(invalid("The fill character must be exactly one character long"));
            }
            let missing = fill_length(state, this, width)?;
            let left = match method {
                "ljust" => 0,
                "rjust" => missing,
                // Python leans to the left or the right, by whether the width is odd.
                _ => missing / 2 + (missing & usize::try_from(width).unwrap_or_default() & 1),
            };
            Ok(Value::from(format!("{}{this}{}", fill.repeat(left), fill.repeat(missing - left))))
        }
        "removeprefix" => {
            let prefix = text(&args.one(method)?, method)?;
            Ok(Value::from(this.strip_prefix(&prefix).unwrap_or(this)))
        }
        "removesuffix" => {
            let suffix = text(&args.one(method)?, method)?;
            Ok(Value::from(this.strip_suffix(&suffix).unwrap_or(this)))
        }
        "expandtabs" => {
            let [size] = args.bind("expandtabs", ["tabsize"])?;
            let size = usize::try_from(integer(size, 8)?.clamp(0, 1000)).unwrap_or(8);
            spend(state, this.len() * (size + 1))?;
            let mut out = String::new();
            let mut column = 0;
            for c in this.chars() {
                match c {
                    '\t' if size > 0 => {
                        let spaces = size - column % size;
                        out.extend(std::iter::repeat_n(' ', spaces));
                        column += spaces;
                    }
                    '\t' => {}
                    c => {
                        out.push(c);
                        column = if c == '\n' || c == '\r' { 0 } else { column + 1 };
                    }
                }
            }
            Ok(Value::from(out))
        }
        "encode" => Ok(Value::from_bytes(this.as_bytes().to_vec())),
        _ => Err(python::no_attribute(&Value::from(this), method)),
    }
}

fn is_decimal(c: char) -> bool {
    // Digits of any script come in runs of ten; fractions and numerals of words do not count.
    c.is_ascii_digit()
        || (!c.is_ascii() && c.is_numeric() && !c.is_alphabetic() && !matches!(c, '¼'..='¾' | '⅐'..='↉' | '①'..='⒛'))
}

fn is_case(text: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(other)
}

/// Python's `str.title`: a letter after anything but a letter is upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

pub(super) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars.as_str().to_lowercase().chars()).collect(),
        None => String::new(),
    }
}

/// Splits at Python's line boundaries.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends =
            matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        if !ends {
            line.push(c);
            continue;
        }
        if keep_ends {
            line.push(c);
        }
        if c == '\r' && chars.next_if_eq(&'\n').is_some() && keep_ends {
            line.push('\n');
        }
        lines.push(std::mem::take(&mut line));
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn strip(this: &str, args: Args, method: &str) -> Result<Value, Error> {
    let [chars] = args.bind(method, ["chars"])?;
    let chars = match chars {
        Some(chars) if !chars.is_none() => Some(text(&chars, method)?),
        _ => None,
    };
    let matches = |c: char| chars.as_ref().map_or(c.is_whitespace(), |chars| chars.contains(c));
    let mut result = this;
    if method != "rstrip" {
        result = result.trim_start_matches(matches);
    }
    if method != "lstrip" {
        result = result.trim_end_matches(matches);
    }
    Ok(Value::from(result))
}

fn split_arguments(args: Args, method: &str) -> Result<(Option<String>, usize), Error> {
    let [separator, most] = args.bind(method, ["sep", "maxsplit"])?;
    let most = usize::try_from(integer(most, -1)?).unwrap_or(usize::MAX);
    match separator {
        Some(separator) if !separator.is_none() => {
            let separator = text(&separator, method)?;
            if separator.is_empty() {
                return Err(invalid("empty separator"));
            }
            Ok((Some(separator), most))
        }
        _ => Ok((None, most)),
    }
}

fn split(this: &str, args: Args) -> Result<Value, Error> {
    let (separator, most) = split_arguments(args, "split")?;
    let parts: Vec<Value> = match separator {
        Some(separator) => this.splitn(most.saturating_add(1), &separator).map(Value::from).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = this.trim_start();
            while !rest.is_empty() {
                let end = match parts.len() < most {
                    true => rest.find(char::is_whitespace).unwrap_or(rest.len()),
                    false => rest.len(),
                };
                parts.push(Value::from(&rest[..end]));
                rest = rest[end..].trim_start();
            }
            parts
        }
    };
    Ok(List::flat(parts))
}

fn rsplit(this: &str, args: Args) -> Result<Value, Error> {
    let (separator, most) = split_arguments(args, "rsplit")?;
    let mut parts: Vec<Value> = match separator {
        Some(separator) => this.rsplitn(most.saturating_add(1), &separator).map(Value::from).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = this.trim_end();
            while !rest.is_empty() {
                let start = match parts.len() < most {
                    true => rest
                        .char_indices()
                        .rev()
                        .find(|(_, c)| c.is_whitespace())
                        .map_or(0, |(at, c)| at + c.len_utf8()),
                    false => 0,
                };
                parts.push(Value::from(&rest[start..]));
                rest = rest[..start].trim_end();
            }
            parts
        }
    };
    parts.reverse();
    Ok(List::flat(parts))
}

/// Replaces, at most `count` times unless that is negative.
pub(super) fn replace(state: &mut State, this: &str, old: &str, new: &str, count: i64) -> Result<String, Error> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { this.chars().count() + 1 } else { this.matches(old).count() };
    spend(state, this.len().saturating_add(found.min(most).saturating_mul(new.len())))?;
    Ok(this.replacen(old, new, most))
}

/// The part of a text between two character indices, and the index where it starts.
fn range(this: &str, start: Option<Value>, end: Option<Value>) -> Result<Option<(&str, usize)>, Error> {
    let length = i64::try_from(this.chars().count()).unwrap_or(i64::MAX);
    let clamp = |index: i64| if index < 0 { (index.saturating_add(length)).max(0) } else { index };
    let (start, end) = (clamp(integer(start, 0)?), clamp(integer(end, i64::MAX)?).min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |index: i64| {
        let index = usize::try_from(index).unwrap_or_default();
        this.char_indices().nth(index).map_or(this.len(), |(byte, _)| byte)
    };
    Ok(Some((&this[byte(start)..byte(end)], usize::try_from(start).unwrap_or_default())))
}

fn affix(state: &mut State, this: &str, args: Args, method: &str) -> Result<Value, Error> {
    let [affix, start, end] = args.bind(method, ["prefix", "start", "end"])?;
    let affix = needed(affix, method, "prefix")?;
    let candidates = match affix.as_str() {
        Some(_) => vec![affix],
        None if affix.is_tuple() => python::iterate(state, &affix)?,
        None => {
            let found = type_name(&affix);
            return Err(invalid(format!("{method} first arg must be str or a tuple of str, not {found}")));
        }
    };
    let Some((part, _)) = range(this, start, end)? else { return Ok(Value::from(false)) };
    for candidate in candidates {
        let candidate = text(&candidate, method)?;
        let matches = if method == "startswith" { part.starts_with(&candidate) } else { part.ends_with(&candidate) };
        if matches {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn search(this: &str, args: Args, method: &str) -> Result<Value, Error> {
    let [part, start, end] = args.bind(method, ["sub", "start", "end"])?;
    let part = text(&needed(part, method, "sub")?, method)?;
    let within = range(this, start, end)?;
    if method == "count" {
        let count = within.map_or(0, |(within, _)| match part.is_empty() {
            true => within.chars().count() + 1,
            false => within.matches(&part).count(),
        });
        return Ok(Value::from(count));
    }
    let found = within.and_then(|(within, offset)| {
        let byte = if method.starts_with('r') { within.rfind(&part) } else { within.find(&part) }?;
        Some(offset + within[..byte].chars().count())
    });
    match found {
        Some(index) => Ok(Value::from(index)),
        None if method.ends_with("index") => Err(invalid("substring not found")),
        None => Ok(Value::from(-1)),
    }
}

fn fill_length(state: &mut State, this: &str, width: i64) -> Result<usize, Error> {
    let width = usize::try_from(width).unwrap_or_default();
    let missing = width.saturating_sub(this.chars().count());
    spend(state, missing.saturating_mul(4))?;
    Ok(missing)
}
