//! Jinja2's and Airflow's filters on single values; those on sequences stand in `sequence_filters`.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{Args, flag, integer as integer_argument, kwargs, needed, text};
use super::error::{invalid, undefined};
use super::json;
use super::object::{Dict, List, is_undefined};
use super::python::{self, from_integer, number, type_name};
use super::work::spend;
use super::{sequence_filters, text_format, text_methods};

pub(super) type Filter = fn(&mut State, Value, Args) -> Result<Value, Error>;

/// Makes every filter known to an environment.
pub(super) fn register(env: &mut Environment<'_>) {
    let filters: [(&'static str, Filter); 42] = [
        ("abs", abs),
        ("attr", attr),
        ("capitalize", |state, value, _| Ok(Value::from(text_methods::capitalize(&python::print(state, &value)?)))),
        ("center", center),
        ("d", default),
        ("default", default),
        ("ds", |state, value, _| date(state, &value, "strftime", Some("%Y-%m-%d"))),
        ("ds_nodash", |state, value, _| date(state, &value, "strftime", Some("%Y%m%d"))),
        ("e", escape),
        ("escape", escape),
        ("filesizeformat", file_size),
        ("float", float),
        ("forceescape", |state, value, _| escaped(&python::print(state, &value)?)),
        ("format", format),
        ("indent", indent),
        ("int", int),
        ("lower", |state, value, _| Ok(Value::from(python::print(state, &value)?.to_lowercase()))),
        ("pprint", |state, value, _| python::repr(state, &value).map(Value::from)),
        ("replace", replace),
        ("round", round),
        ("safe", |state, value, _| Ok(Value::from_safe_string(python::print(state, &value)?))),
        ("sh", |state, value, _| Ok(Value::from(shell_quoted(&python::print(state, &value)?)))),
        ("string", |state, value, _| match value.as_str() {
            Some(_) => Ok(value),
            None => python::print(state, &value).map(Value::from),
        }),
        ("striptags", strip_tags),
        ("title", title),
        ("tojson", to_json),
        ("trim", trim),
        ("truncate", truncate),
        ("ts", |state, value, _| date(state, &value, "isoformat", None)),
        ("ts_nodash", |state, value, _| date(state, &value, "strftime", Some("%Y%m%dT%H%M%S"))),
        ("ts_nodash_with_tz", |state, value, _| {
            let iso = date(state, &value, "isoformat", None)?;
            Ok(match iso.as_str() {
                Some(iso) => Value::from(iso.replace(['-', ':'], "")),
                None => iso,
            })
        }),
        ("upper", |state, value, _| Ok(Value::from(python::print(state, &value)?.to_uppercase()))),
        ("urlencode", url_encode),
        ("urlize", |state, value, _| python::print(state, &value).map(Value::from)),
        ("wordcount", |state, value, _| {
            let text = python::print(state, &value)?;
            let words = text.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty());
            Ok(Value::from(words.count()))
        }),
        ("wordwrap", word_wrap),
        ("xmlattr", xml_attributes),
        ("count", |_, value, _| python::length(&value).map(Value::from)),
        ("length", |_, value, _| python::length(&value).map(Value::from)),
        ("bool", |_, value, _| Ok(Value::from(value.is_true()))),
        ("items", sequence_filters::items),
        ("list", |state, value, _| super::dict_methods::listed(state, &value)),
    ];
    for (name, filter) in filters.into_iter().chain(sequence_filters::FILTERS) {
        env.add_filter(name, move |state: &mut State, values: Rest<ValueOrKwargs>| {
            let mut args = Args::new(&values.into_values());
            if args.positional.is_empty() {
                return Err(invalid(format!("filter '{name}' needs a value")));
            }
            let value = args.positional.remove(0);
            filter(state, value, args)
        });
    }
    for name in ["lines", "split", "chain", "zip", "bool"] {
        env.remove_filter(name);
    }
}

/// Applies a filter by name, as `map` does.
pub(super) fn apply(state: &mut State, name: &str, value: Value, args: &Args) -> Result<Value, Error> {
    let mut values = vec![value];
    values.extend(args.positional.iter().cloned());
    if !args.named.is_empty() {
        values.push(kwargs(args.named.clone()));
    }
    state.apply_filter(name, &values).map_err(|error| match error.kind() {
        ErrorKind::UnknownFilter => invalid(format!("No filter named '{name}'.")),
        _ => error,
    })
}

fn abs(_state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    if let Some(integer) = python::integer(&value) {
        return Ok(from_integer(integer.saturating_abs()));
    }
    match number(&value) {
        Some(float) => Ok(Value::from(float.abs())),
        None => Err(invalid(format!("bad operand type for abs(): '{}'", type_name(&value)))),
    }
}

fn attr(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let name = args.one("attr")?;
    // Unlike a dot, this filter looks at attributes only.
    match value.downcast_object_ref::<Dict>() {
        Some(_) => Ok(Value::UNDEFINED),
        None => super::operators::item(&value, &name),
    }
}

fn default(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [fallback, boolean] = args.bind("default", ["default_value", "boolean"])?;
    let missing = is_undefined(&value) || (flag(boolean) && !value.is_true());
    Ok(if missing { fallback.unwrap_or_else(|| Value::from("")) } else { value })
}

fn date(state: &mut State, value: &Value, method: &str, format: Option<&str>) -> Result<Value, Error> {
    if value.is_none() {
        return Ok(value.clone());
    }
    let args: Vec<Value> = format.map(Value::from).into_iter().collect();
    value.call_method(state, method, &args)
}

/// The characters that mean something in HTML, replaced.
pub(super) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn escaped(text: &str) -> Result<Value, Error> {
    Ok(Value::from_safe_string(escape_html(text)))
}

fn escape(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    match value.is_safe() {
        true => Ok(value),
        false => escaped(&python::print(state, &value)?),
    }
}

/// A word that a POSIX shell reads back as the text, as Python's `shlex.quote` writes it.
fn shell_quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn center(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [width] = args.bind("center", ["width"])?;
    let text = Value::from(python::print(state, &value)?);
    let width = Value::from(integer_argument(width, 80)?);
    text_methods::call(state, &text, "center", &[width])
}

fn file_size(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [binary] = args.bind("filesizeformat", ["binary"])?;
    let bytes = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => number(&value),
    };
    let Some(bytes): Option<f64> = bytes else {
        return Err(invalid(format!("could not convert {} to float", type_name(&value))));
    };
    let (base, prefixes) = match flag(binary) {
        true => (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]),
        false => (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
    };
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes.trunc())));
    }
    let mut unit = base * base;
    for prefix in prefixes {
        if bytes < unit {
            return Ok(Value::from(format!("{:.1} {prefix}", base * bytes / unit)));
        }
        unit *= base;
    }
    Ok(Value::from(format!("{:.1} {}", base * bytes / (unit / base), prefixes[7])))
}

fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.trim_start_matches(['+', '-']);
    let is_word = ["inf", "infinity", "nan"].iter().any(|word| digits.eq_ignore_ascii_case(word));
    if !is_word && !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn float(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [fallback] = args.bind("float", ["default"])?;
    let parsed = match value.as_str() {
        Some(text) => parse_float(text),
        None => number(&value),
    };
    Ok(parsed.map(Value::from).or(fallback).unwrap_or_else(|| Value::from(0.0)))
}

fn int(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [fallback, base] = args.bind("int", ["default", "base"])?;
    let base = integer_argument(base, 10)?;
    let fallback = fallback.unwrap_or_else(|| Value::from(0));
    let whole = |float: f64| (float.is_finite() && float.abs() < 1e37).then(|| float.trunc() as i128);
    let parsed = match value.as_str() {
        Some(text) => parse_integer(text, base).or_else(|| parse_float(text).and_then(whole)),
        None => python::integer(&value).or_else(|| number(&value).and_then(whole)),
    };
    Ok(parsed.map_or(fallback, from_integer))
}

fn parse_integer(text: &str, base: i64) -> Option<i128> {
    let text = text.trim().replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| lower.strip_prefix(prefix).map(|rest| (radix, rest)));
    let (radix, digits) = match (base, prefixed) {
        (0, Some((radix, rest))) => (radix, rest),
        (base, Some((radix, rest))) if base == i64::from(radix) => (radix, rest),
        (0, None) => (10, lower.as_str()),
        (2..=36, _) => (u32::try_from(base).ok()?, lower.as_str()),
        _ => return None,
    };
    let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    valid.then(|| i128::from_str_radix(digits, radix).ok()).flatten().map(|value| sign * value)
}

fn format(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    if !args.positional.is_empty() && !args.named.is_empty() {
        return Err(invalid("can't handle positional and keyword arguments at the same time"));
    }
    let format = python::print(state, &value)?;
    let values = match args.named.is_empty() {
        true => super::object::tuple(args.positional),
        false => Dict::value(super::dict_methods::entries_of(state, args, "format")?)?,
    };
    text_format::percent(state, &format, &values).map(Value::from)
}

fn indent(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let indention = match width.as_ref().and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => " ".repeat(usize::try_from(integer_argument(width, 4)?.clamp(0, 10_000)).unwrap_or(4)),
    };
    let text = python::print(state, &value)?;
    let blank = flag(blank);
    spend(state, indention.len().saturating_mul(text.matches('\n').count() + 1))?;
    let text = format!("{text}\n");
    let mut lines = text_methods::lines(&text, false);
    if !blank && lines.last().is_some_and(String::is_empty) && text.ends_with("\n\n") {
        // The newline that was put at the end is not a line of its own.
        lines.pop();
        lines.push(String::new());
    }
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&indention);
            }
        } else if flag(first.clone()) {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn replace(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
    let old = python::print(state, &needed(old, "replace", "old")?)?;
    let new = python::print(state, &needed(new, "replace", "new")?)?;
    let text = python::print(state, &value)?;
    text_methods::replace(state, &text, &old, &new, integer_argument(count, -1)?).map(Value::from)
}

fn round(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = i32::try_from(integer_argument(precision, 0)?.clamp(-400, 400)).unwrap_or(0);
    let method = method.as_ref().and_then(Value::as_str).unwrap_or("common").to_owned();
    let Some(float) = number(&value) else {
        return Err(invalid(format!("type {} doesn't define __round__ method", type_name(&value))));
    };
    let scale = 10_f64.powi(precision);
    match method.as_str() {
        "ceil" => return Ok(Value::from((float * scale).ceil() / scale)),
        "floor" => return Ok(Value::from((float * scale).floor() / scale)),
        "common" => {}
        _ => return Err(invalid("method must be common, ceil or floor")),
    }
    if let Some(integer) = python::integer(&value) {
        if precision >= 0 {
            return Ok(from_integer(integer));
        }
        let unit = 10_i128.checked_pow(precision.unsigned_abs()).unwrap_or(i128::MAX);
        let (down, rest) = (integer.div_euclid(unit), integer.rem_euclid(unit));
        let up = rest * 2 > unit || (rest * 2 == unit && down % 2 != 0);
        return Ok(from_integer((down + i128::from(up)).saturating_mul(unit)));
    }
    if !float.is_finite() {
        return Ok(value);
    }
    Ok(Value::from(match usize::try_from(precision) {
        // The decimal text of a float is exact, so its rounding is right, as Python's is.
        Ok(precision) => format!("{float:.precision$}").parse().unwrap_or(float),
        Err(_) => (float * scale).round_ties_even() / scale,
    }))
}

fn strip_tags(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    let text = python::print(state, &value)?;
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find('<') {
        let Some(end) = rest[start..].find('>') else { break };
        out.push_str(&rest[..start]);
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    let words: Vec<&str> = out.split_whitespace().collect();
    let text = words.join(" ").replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", "\"").replace("&quot;", "\"");
    Ok(Value::from(text.replace("&#39;", "'").replace("&amp;", "&")))
}

/// Jinja2's own title: words begin after a space, a hyphen or an opening bracket.
fn title(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    let text = python::print(state, &value)?;
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        let separates = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
        if starts && !separates {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = separates;
    }
    Ok(Value::from(out))
}

fn to_json(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [indent] = args.bind("tojson", ["indent"])?;
    let style = json::Style { sort_keys: true, indent: json::indent_of(indent)?, ..json::Style::default() };
    let text = json::dumps(state, &value, &style)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\'' => out.push_str("\\u0027"),
            c => out.push(c),
        }
    }
    Ok(Value::from_safe_string(out))
}

fn trim(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [chars] = args.bind("trim", ["chars"])?;
    let text = Value::from(python::print(state, &value)?);
    text_methods::call(state, &text, "strip", &chars.into_iter().collect::<Vec<_>>())
}

fn truncate(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [length, kill_words, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = integer_argument(length, 255)?;
    let leeway = integer_argument(leeway, 5)?;
    let end = end.map_or(Ok("...".to_owned()), |end| text(&end, "truncate"))?;
    let value = python::print(state, &value)?;
    let count = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if length < count(&end) {
        return Err(invalid(format!("expected length >= {}, got {length}", count(&end))));
    }
    if leeway < 0 {
        return Err(invalid(format!("expected leeway >= 0, got {leeway}")));
    }
    if count(&value) <= length.saturating_add(leeway) {
        return Ok(Value::from(value));
    }
    let keep = usize::try_from(length - count(&end)).unwrap_or_default();
    let cut: String = value.chars().take(keep).collect();
    let cut = match flag(kill_words) {
        true => cut.as_str(),
        false => cut.rsplit_once(' ').map_or(cut.as_str(), |(start, _)| start),
    };
    Ok(Value::from(format!("{cut}{end}")))
}

fn quote_url(text: &str, for_query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b'/' if !for_query => out.push('/'),
            b' ' if for_query => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn url_encode(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    let pairs = match value.downcast_object_ref::<Dict>() {
        Some(dict) => super::dict_methods::pairs(dict),
        None if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) => python::iterate(state, &value)?,
        None => return Ok(Value::from(quote_url(&python::print(state, &value)?, false))),
    };
    let mut parts = Vec::new();
    for pair in pairs {
        match python::iterate(state, &pair)?.as_slice() {
            [key, value] => {
                let key = quote_url(&python::print(state, key)?, true);
                let value = quote_url(&python::print(state, value)?, true);
                parts.push(format!("{key}={value}"));
            }
            _ => return Err(invalid("urlencode takes pairs")),
        }
    }
    Ok(Value::from(parts.join("&")))
}

fn word_wrap(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, separator, _hyphens] = args.bind("wordwrap", names)?;
    let width = usize::try_from(integer_argument(width, 79)?).ok().filter(|width| *width > 0);
    let width = width.ok_or_else(|| invalid("invalid width (must be > 0)"))?;
    let break_long = break_long.is_none_or(|value| value.is_true());
    let separator = match separator {
        Some(separator) if !separator.is_none() => text(&separator, "wordwrap")?,
        _ => "\n".to_owned(),
    };
    let text = python::print(state, &value)?;
    let mut lines = Vec::new();
    for paragraph in text_methods::lines(&text, false) {
        let mut line = String::new();
        let mut length = 0;
        for word in paragraph.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            if !line.is_empty() && length + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            while break_long && word.len() > width {
                let rest = word.split_off(width);
                lines.push(std::mem::replace(&mut word, rest).into_iter().collect());
            }
            if !line.is_empty() {
                line.push(' ');
                length += 1;
            }
            length += word.len();
            line.extend(word);
        }
        lines.push(line);
    }
    Ok(Value::from(lines.join(&separator)))
}

fn xml_attributes(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [auto_space] = args.bind("xmlattr", ["autospace"])?;
    let Some(dict) = value.downcast_object::<Dict>() else {
        return Err(invalid(format!("xmlattr takes a mapping, not {}", type_name(&value))));
    };
    let mut parts = Vec::new();
    let entries = dict.lock().clone();
    for (key, item) in entries {
        if item.is_none() || is_undefined(&item) {
            continue;
        }
        let key = python::print(state, &key.0)?;
        if key.contains([' ', '\t', '\n', '\u{c}', '/', '>', '=']) {
            return Err(invalid(format!("Invalid character in attribute name: '{key}'")));
        }
        let item = python::print(state, &item)?;
        parts.push(format!("{}=\"{}\"", escape_html(&key), escape_html(&item)));
    }
    let space = if auto_space.is_none_or(|space| space.is_true()) && !parts.is_empty() { " " } else { "" };
    Ok(Value::from_safe_string(format!("{space}{}", parts.join(" "))))
}

/// The empty sequence's answer to `first`, `last`, `min` and `max`: undefined, and said why when it is used.
pub(super) fn no_item(what: &str) -> Error {
    undefined(format!("No {what} item, sequence was empty."))
}

/// A list as a value.
pub(super) fn list(items: Vec<Value>) -> Result<Value, Error> {
    List::value(items)
}
