//! `'%s' % x` and `'{}'.format(x)`.

use chrono::Timelike;
use minijinja::value::Tuple;
use minijinja::{Error, State, Value};

use super::error::{invalid, limit};
use super::moment::Moment;
use super::object::Dict;
use super::operators::item;
use super::python::{self, integer, number, type_name};
use super::strftime;
use super::work::spend;

/// The widest field, and the most digits, that a format may ask for.
const MAX_WIDTH: usize = 100_000;
const MAX_DIGITS: usize = 300;

/// How one value is to look.
#[derive(Clone, Debug)]
struct Spec {
    fill: char,
    align: Option<char>,
    sign: char,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: char,
}

impl Spec {
    fn new() -> Spec {
        Spec {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            zero: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: '\0',
        }
    }

    /// Parses `[[fill]align][sign][#][0][width][,][.precision][type]`.
    fn parse(text: &str) -> Result<Spec, Error> {
        let mut spec = Spec::new();
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '^' | '='));
        if is_align(chars.get(1)) {
            (spec.fill, spec.align, at) = (chars[0], Some(chars[1]), 2);
        } else if is_align(chars.first()) {
            (spec.align, at) = (Some(chars[0]), 1);
        }
        if let Some(sign @ ('+' | '-' | ' ')) = chars.get(at) {
            spec.sign = *sign;
            at += 1;
        }
        if chars.get(at) == Some(&'#') {
            spec.alternate = true;
            at += 1;
        }
        if chars.get(at) == Some(&'0') {
            spec.zero = true;
            at += 1;
        }
        spec.width = take_number(&chars, &mut at)?.unwrap_or(0);
        if let Some(grouping @ (',' | '_')) = chars.get(at) {
            spec.grouping = Some(*grouping);
            at += 1;
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            let digits = take_number(&chars, &mut at)?;
            spec.precision = Some(digits.ok_or_else(|| invalid("Format specifier missing precision"))?);
        }
        if let Some(kind) = chars.get(at) {
            spec.kind = *kind;
            at += 1;
        }
        if at < chars.len() {
            return Err(invalid(format!("Invalid format specifier '{text}'")));
        }
        Ok(spec)
    }

    /// Fills a text up to the width; `default` says where it stands if nothing else does.
    fn pad(&self, state: &mut State, text: &str, prefix: usize, default: char) -> Result<String, Error> {
        let length = text.chars().count();
        spend(state, self.width.max(length) * 4)?;
        let missing = self.width.saturating_sub(length);
        let fill = |count: usize, c: char| std::iter::repeat_n(c, count).collect::<String>();
        if self.zero && self.align.is_none() && default == '>' {
            return Ok(format!("{}{}{}", &text[..prefix], fill(missing, '0'), &text[prefix..]));
        }
        let c = if self.zero && self.align.is_none() { '0' } else { self.fill };
        Ok(match self.align.unwrap_or(default) {
            '<' => format!("{text}{}", fill(missing, c)),
            '^' => format!("{}{text}{}", fill(missing / 2, c), fill(missing - missing / 2, c)),
            '=' => format!("{}{}{}", &text[..prefix], fill(missing, c), &text[prefix..]),
            _ => format!("{}{text}", fill(missing, c)),
        })
    }

    fn signed(&self, negative: bool) -> &'static str {
        match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        }
    }

    fn integer(&self, state: &mut State, value: i128) -> Result<String, Error> {
        let magnitude = value.unsigned_abs();
        let (digits, prefix) = match self.kind {
            'x' => (format!("{magnitude:x}"), "0x"),
            'X' => (format!("{magnitude:X}"), "0X"),
            'o' => (format!("{magnitude:o}"), "0o"),
            'b' => (format!("{magnitude:b}"), "0b"),
            _ => (magnitude.to_string(), ""),
        };
        let digits = group(&digits, self.grouping, if prefix.is_empty() { 3 } else { 4 });
        let sign = format!("{}{}", self.signed(value < 0), if self.alternate { prefix } else { "" });
        self.pad(state, &format!("{sign}{digits}"), sign.len(), '>')
    }

    fn float(&self, state: &mut State, value: f64) -> Result<String, Error> {
        let magnitude = value.abs();
        let precision = self.precision.unwrap_or(6);
        if precision > MAX_DIGITS {
            return Err(limit("a format asks for too many digits"));
        }
        let mut text = match self.kind {
            _ if !magnitude.is_finite() => if magnitude.is_nan() { "nan" } else { "inf" }.to_owned(),
            'f' | 'F' => format!("{magnitude:.precision$}"),
            'e' | 'E' => exponent(magnitude, precision),
            '%' => format!("{:.precision$}%", magnitude * 100.0),
            'g' | 'G' => general(magnitude, precision.max(1), self.alternate),
            _ => match self.precision {
                Some(precision) => {
                    let text = general(magnitude, precision.max(1), false);
                    if text.contains(['.', 'e']) { text } else { format!("{text}.0") }
                }
                None => updraft_core::python::float_repr(magnitude),
            },
        };
        if self.kind.is_ascii_uppercase() {
            text = text.to_uppercase();
        }
        if self.grouping.is_some() {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text = format!("{}{}", group(&text[..end], self.grouping, 3), &text[end..]);
        }
        let sign = self.signed(value.is_sign_negative() && !value.is_nan());
        self.pad(state, &format!("{sign}{text}"), sign.len(), '>')
    }

    fn text(&self, state: &mut State, text: &str, default: char) -> Result<String, Error> {
        match self.precision {
            Some(precision) => {
                let cut: String = text.chars().take(precision).collect();
                self.pad(state, &cut, 0, default)
            }
            None => self.pad(state, text, 0, default),
        }
    }
}

fn take_number(chars: &[char], at: &mut usize) -> Result<Option<usize>, Error> {
    let start = *at;
    while chars.get(*at).is_some_and(char::is_ascii_digit) {
        *at += 1;
    }
    if *at == start {
        return Ok(None);
    }
    let digits: String = chars[start..*at].iter().collect();
    match digits.parse::<usize>() {
        Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
        _ => Err(limit("a format asks for too wide a field")),
    }
}

fn group(digits: &str, separator: Option<char>, size: usize) -> String {
    let Some(separator) = separator else { return digits.to_owned() };
    let mut out = String::new();
    for (index, c) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}

fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn general(value: f64, precision: usize, keep_zeros: bool) -> String {
    let scientific = format!("{:.*e}", precision - 1, value);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let digits = i32::try_from(precision).unwrap_or(i32::MAX);
    let (mut text, suffix) = if power < -4 || power >= digits {
        let text = exponent(value, precision - 1);
        match text.split_once('e') {
            Some((mantissa, power)) => (mantissa.to_owned(), format!("e{power}")),
            None => (text, String::new()),
        }
    } else {
        (format!("{value:.*}", usize::try_from(digits - 1 - power).unwrap_or(0)), String::new())
    };
    if !keep_zeros && text.contains('.') {
        text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text + &suffix
}

/// `format % values`.
pub(super) fn percent(state: &mut State, format: &str, values: &Value) -> Result<String, Error> {
    let positional: Vec<Value> = match values.downcast_object_ref::<Tuple>() {
        Some(items) => items.to_vec(),
        None => vec![values.clone()],
    };
    let mapping = values.downcast_object::<Dict>();
    let mut next = 0;
    let mut used_mapping = false;
    let mut out = String::new();
    let chars: Vec<char> = format.chars().collect();
    spend(state, chars.len())?;
    let mut at = 0;
    while at < chars.len() {
        if chars[at] != '%' {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        at += 1;
        let mut key = None;
        if chars.get(at) == Some(&'(') {
            let Some(end) = chars[at..].iter().position(|c| *c == ')') else {
                return Err(invalid("incomplete format key"));
            };
            key = Some(chars[at + 1..at + end].iter().collect::<String>());
            at += end + 1;
        }
        let mut spec = Spec::new();
        while let Some(flag @ ('-' | '+' | ' ' | '0' | '#')) = chars.get(at) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                sign => spec.sign = *sign,
            }
            at += 1;
        }
        let take = |next: &mut usize| -> Result<Value, Error> {
            let value = positional.get(*next).cloned();
            *next += 1;
            value.ok_or_else(|| invalid("not enough arguments for format string"))
        };
        spec.width = star_or_number(&chars, &mut at, || take(&mut next))?.unwrap_or(0);
        if chars.get(at) == Some(&'.') {
            at += 1;
            spec.precision = Some(star_or_number(&chars, &mut at, || take(&mut next))?.unwrap_or(0));
        }
        while matches!(chars.get(at), Some('l' | 'h' | 'L')) {
            at += 1;
        }
        let Some(kind) = chars.get(at).copied() else {
            return Err(invalid("incomplete format"));
        };
        at += 1;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match key {
            Some(key) => {
                let Some(mapping) = &mapping else { return Err(invalid("format requires a mapping")) };
                used_mapping = true;
                mapping.get(&Value::from(key.as_str())).ok_or_else(|| invalid(format!("'{key}'")))?
            }
            None => take(&mut next)?,
        };
        out.push_str(&percent_value(state, spec, kind, &value, at - 1)?);
    }
    if next < positional.len() && !used_mapping && mapping.is_none() {
        return Err(invalid("not all arguments converted during string formatting"));
    }
    Ok(out)
}

fn star_or_number(
    chars: &[char],
    at: &mut usize,
    take: impl FnOnce() -> Result<Value, Error>,
) -> Result<Option<usize>, Error> {
    if chars.get(*at) != Some(&'*') {
        return take_number(chars, at);
    }
    *at += 1;
    let value = take()?;
    match integer(&value).and_then(|number| usize::try_from(number).ok()) {
        Some(number) if number <= MAX_WIDTH => Ok(Some(number)),
        Some(_) => Err(limit("a format asks for too wide a field")),
        None => Err(invalid("* wants int")),
    }
}

fn percent_value(state: &mut State, mut spec: Spec, kind: char, value: &Value, at: usize) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(super::error::undefined("a value to format is undefined"));
    }
    spec.kind = kind;
    let real_number = || {
        number(value)
            .ok_or_else(|| invalid(format!("%{kind} format: a real number is required, not {}", type_name(value))))
    };
    match kind {
        's' | 'r' | 'a' => {
            spec.zero = false;
            let text = if kind == 's' { python::print(state, value)? } else { python::repr(state, value)? };
            spec.text(state, &text, '>')
        }
        'd' | 'i' | 'u' => {
            spec.kind = 'd';
            let value = match integer(value) {
                Some(integer) => integer,
                None => real_number()?.trunc() as i128,
            };
            spec.integer(state, value)
        }
        'x' | 'X' | 'o' => match integer(value) {
            Some(value) => spec.integer(state, value),
            None => Err(invalid(format!("%{kind} format: an integer is required, not {}", type_name(value)))),
        },
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let value = real_number()?;
            spec.float(state, value)
        }
        'c' => {
            let text = match (value.as_str(), integer(value)) {
                (Some(text), _) if text.chars().count() == 1 => text.to_owned(),
                (_, Some(code)) => {
                    let c = u32::try_from(code).ok().and_then(char::from_u32);
                    c.map(String::from).ok_or_else(|| invalid("%c arg not in range(0x110000)"))?
                }
                _ => return Err(invalid("%c requires int or char")),
            };
            spec.text(state, &text, '>')
        }
        other => {
            Err(invalid(format!("unsupported format character '{other}' ({:#x}) at index {at}", u32::from(other))))
        }
    }
}

/// `format.format(…)`.
pub(super) fn braces(
    state: &mut State,
    format: &str,
    positional: &[Value],
    named: &[(String, Value)],
) -> Result<String, Error> {
    let mut automatic = 0;
    fill(state, format, positional, named, &mut automatic, 0)
}

fn fill(
    state: &mut State,
    format: &str,
    positional: &[Value],
    named: &[(String, Value)],
    automatic: &mut usize,
    depth: usize,
) -> Result<String, Error> {
    spend(state, format.len())?;
    let mut out = String::new();
    let chars: Vec<char> = format.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('{', Some('{')) | ('}', Some('}')) => {
                out.push(chars[at]);
                at += 2;
            }
            ('}', _) => return Err(invalid("Single '}' encountered in format string")),
            ('{', _) => {
                let mut open = 1;
                let start = at + 1;
                at = start;
                while at < chars.len() && open > 0 {
                    match chars[at] {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    at += 1;
                }
                if open > 0 {
                    return Err(invalid("Single '{' encountered in format string"));
                }
                let field: String = chars[start..at - 1].iter().collect();
                if depth > 1 {
                    return Err(invalid("Max string recursion exceeded"));
                }
                out.push_str(&field_text(state, &field, positional, named, automatic, depth)?);
            }
            (c, _) => {
                out.push(c);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn field_text(
    state: &mut State,
    field: &str,
    positional: &[Value],
    named: &[(String, Value)],
    automatic: &mut usize,
    depth: usize,
) -> Result<String, Error> {
    let (head, spec) = field.split_once(':').unwrap_or((field, ""));
    let (path, conversion) = match head.rsplit_once('!') {
        Some((path, conversion)) => (path, Some(conversion)),
        None => (head, None),
    };
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (first, mut rest) = path.split_at(end);
    let index = if first.is_empty() {
        *automatic += 1;
        Some(*automatic - 1)
    } else {
        first.parse::<usize>().ok()
    };
    let mut value = match index {
        Some(index) => positional
            .get(index)
            .cloned()
            .ok_or_else(|| invalid(format!("Replacement index {index} out of range for positional args tuple")))?,
        None => named
            .iter()
            .find(|(name, _)| name == first)
            .map(|(_, value)| value.clone())
            .ok_or_else(|| invalid(format!("'{first}'")))?,
    };
    while !rest.is_empty() {
        let (key, after) = if let Some(inside) = rest.strip_prefix('[') {
            let (key, after) = inside.split_once(']').ok_or_else(|| invalid("Missing ']' in format string"))?;
            (key.parse::<i64>().map_or_else(|_| Value::from(key), Value::from), after)
        } else {
            let name = rest.trim_start_matches('.');
            let end = name.find(['.', '[']).unwrap_or(name.len());
            (Value::from(&name[..end]), &name[end..])
        };
        let next = item(&value, &key)?;
        if next.is_undefined() {
            return Err(python::no_attribute(&value, &key.to_string()));
        }
        (value, rest) = (next, after);
    }
    let spec =
        if spec.contains('{') { fill(state, spec, positional, named, automatic, depth + 1)? } else { spec.to_owned() };
    match conversion {
        None => formatted(state, &value, &spec),
        Some("r" | "a") => {
            let text = python::repr(state, &value)?;
            Spec::parse(&spec)?.text(state, &text, '<')
        }
        Some("s") => {
            let text = python::print(state, &value)?;
            Spec::parse(&spec)?.text(state, &text, '<')
        }
        Some(other) => Err(invalid(format!("Unknown conversion specifier {other}"))),
    }
}

/// Python's `format(value, spec)`.
pub(super) fn formatted(state: &mut State, value: &Value, spec: &str) -> Result<String, Error> {
    if spec.is_empty() {
        return python::print(state, value);
    }
    if let Some(moment) = value.downcast_object::<Moment>() {
        let at = moment.local().with_nanosecond(moment.micros() * 1000).unwrap_or(moment.local());
        if moment.is_pendulum() && !spec.contains('%') {
            return super::pendulum_format::format(&moment, spec);
        }
        return strftime::strftime(state, at, moment.offset(), &moment.zone_abbreviation(), spec);
    }
    let parsed = Spec::parse(spec)?;
    let unknown = || {
        let found = type_name(value);
        Err(invalid(format!("Unknown format code '{}' for object of type '{found}'", parsed.kind)))
    };
    if let Some(text) = value.as_str() {
        return match parsed.kind {
            '\0' | 's' => parsed.text(state, text, '<'),
            _ => unknown(),
        };
    }
    if let Some(integer) = integer(value) {
        return match parsed.kind {
            '\0' | 'd' | 'n' | 'x' | 'X' | 'o' | 'b' => parsed.integer(state, integer),
            'c' => {
                let c = u32::try_from(integer).ok().and_then(char::from_u32);
                let c = c.ok_or_else(|| invalid("%c arg not in range(0x110000)"))?;
                parsed.text(state, &c.to_string(), '<')
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' => parsed.float(state, integer as f64),
            _ => unknown(),
        };
    }
    if let Some(float) = number(value) {
        return match parsed.kind {
            '\0' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%' => parsed.float(state, float),
            _ => unknown(),
        };
    }
    Err(invalid(format!("unsupported format string passed to {}.__format__", type_name(value))))
}
