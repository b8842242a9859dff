//! What the lowered expressions call: Python's operators, literals, subscripts and slices.

use std::cmp::Ordering;

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::args::Args;
use super::context::Accessor;
use super::date::Date;
use super::error::{invalid, limit, undefined};
use super::interval::Span;
use super::macros::RelativeDelta;
use super::moment::Moment;
use super::object::{Dict, Entries, Function, Key, List, Nothing, Run, View, is_undefined, tuple};
use super::python::{self, from_integer, integer, number, type_name};
use super::text_format;
use super::work::spend;

/// Makes the operators known to an environment, under names that no template uses by chance.
pub(super) fn register(env: &mut Environment<'_>) {
    let functions: [(&'static str, Run); 15] = [
        ("__defined__", defined),
        ("__get__", get),
        ("__slice__", slice),
        ("__math__", math),
        ("__sign__", sign),
        ("__concat__", concat),
        ("__compare__", compare),
        ("__list__", |_, items| List::value(items.to_vec())),
        ("__tuple__", |_, items| checked_tuple(items)),
        ("__dict__", dict),
        ("__iter__", iter),
        ("__unpack__", unpack),
        ("__callable__", callable),
        ("__mapping__", mapping),
        ("__stored__", stored),
    ];
    for (name, function) in functions {
        env.add_global(name, Function::value(name, function));
    }
    env.add_global("__nothing__", Value::from_object(Nothing));
    env.add_global("__infinity__", f64::INFINITY);
}

fn argument(args: &[Value], index: usize) -> Value {
    args.get(index).cloned().unwrap_or_default()
}

fn defined(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let value = argument(args, 0);
    match value.is_undefined() {
        true => Err(undefined(format!("'{}' is undefined", argument(args, 1)))),
        false => Ok(value),
    }
}

fn checked_tuple(items: &[Value]) -> Result<Value, Error> {
    // A list has the same rules for what it may hold.
    List::value(items.to_vec())?;
    Ok(tuple(items.to_vec()))
}

fn stored(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let value = argument(args, 0);
    List::value(vec![value.clone()])?;
    Ok(value)
}

fn dict(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut entries = Entries::with_capacity(args.len() / 2);
    for pair in args.chunks_exact(2) {
        entries.insert(Key::new(pair[0].clone())?, pair[1].clone());
    }
    Dict::value(entries)
}

fn iter(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let items = python::iterate(state, &argument(args, 0))?;
    if let Some(count) = args.get(1).and_then(Value::as_usize) {
        for item in &items {
            check_unpack(state, item, count)?;
        }
    }
    List::value(items)
}

fn check_unpack(state: &mut State, value: &Value, count: usize) -> Result<Vec<Value>, Error> {
    let items = python::iterate(state, value)
        .map_err(|_| invalid(format!("cannot unpack non-iterable {} object", type_name(value))))?;
    match items.len().cmp(&count) {
        Ordering::Equal => Ok(items),
        Ordering::Less => Err(invalid(format!("not enough values to unpack (expected {count}, got {})", items.len()))),
        Ordering::Greater => Err(invalid(format!("too many values to unpack (expected {count})"))),
    }
}

fn unpack(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let count = argument(args, 1).as_usize().unwrap_or(0);
    check_unpack(state, &argument(args, 0), count).map(tuple)
}

fn callable(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let value = argument(args, 0);
    match is_callable(&value) {
        true => Ok(value),
        false => Err(invalid(format!("'{}' object is not callable", type_name(&value)))),
    }
}

/// Whether a call of the value makes sense; the engine's own objects (macros, loops) are all plain.
pub(super) fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
        && value.downcast_object_ref::<Moment>().is_none()
        && value.downcast_object_ref::<Span>().is_none()
        && value.downcast_object_ref::<Date>().is_none()
}

fn mapping(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let value = argument(args, 0);
    match value.kind() {
        ValueKind::Map => Ok(value),
        _ => Err(invalid(format!("argument after ** must be a mapping, not {}", type_name(&value)))),
    }
}

/// `__get__(root, "root", key, …)`: attributes and subscripts one after another.
fn get(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut value = argument(args, 0);
    if value.is_undefined() {
        return Err(undefined(format!("'{}' is undefined", argument(args, 1))));
    }
    let keys = args.get(2..).unwrap_or_default();
    for (index, key) in keys.iter().enumerate() {
        let next = item(&value, key)?;
        if next.is_undefined() && (index + 1 < keys.len() || value.is_none()) {
            return Err(missing(&value, key));
        }
        value = next;
    }
    Ok(value)
}

fn missing(value: &Value, key: &Value) -> Error {
    match key.as_str() {
        Some(name) => python::no_attribute(value, name),
        None => undefined(format!("{} object has no element {key}", type_name(value))),
    }
}

/// An attribute or an element; undefined if there is none.
pub(super) fn item(value: &Value, key: &Value) -> Result<Value, Error> {
    if let Some(accessor) = value.downcast_object_ref::<Accessor>() {
        return accessor.get(key);
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>()
        && let Some(found) = dict.get(key)
    {
        return Ok(found);
    }
    if key.as_str().is_some_and(|name| name.starts_with("__")) {
        return Err(invalid(format!("access to attribute '{key}' of '{}' object is unsafe.", type_name(value))));
    }
    if is_undefined(value) || value.downcast_object_ref::<Dict>().is_some() {
        return Ok(Value::UNDEFINED);
    }
    let index = integer(key).filter(|_| key.kind() == ValueKind::Number);
    if let Some(index) = index
        && let Some(length) = sequence_length(value)
    {
        let index = if index < 0 { index + length as i128 } else { index };
        let Ok(index) = usize::try_from(index) else { return Ok(Value::UNDEFINED) };
        return Ok(match value.as_str() {
            Some(text) => text.chars().nth(index).map_or(Value::UNDEFINED, |c| Value::from(c.to_string())),
            None => value.get_item_by_index(index).unwrap_or_default(),
        });
    }
    if index.is_none() && key.kind() == ValueKind::Number {
        return Ok(Value::UNDEFINED);
    }
    if number(value).is_some() && key.as_str() == Some("real") {
        return Ok(value.clone());
    }
    match value.as_object() {
        Some(object) => Ok(object.get_value(key).unwrap_or_default()),
        None => Ok(Value::UNDEFINED),
    }
}

fn sequence_length(value: &Value) -> Option<usize> {
    match value.kind() {
        ValueKind::String => value.as_str().map(|text| text.chars().count()),
        ValueKind::Seq => value.len(),
        _ => None,
    }
}

/// `__slice__(value, start, stop, step)`.
fn slice(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let value = argument(args, 0);
    let Some(length) = sequence_length(&value) else {
        return Err(invalid(format!("'{}' object is not subscriptable", type_name(&value))));
    };
    spend(state, length)?;
    let length = length as i128;
    let bound = |index: usize| -> Result<Option<i128>, Error> {
        match args.get(index) {
            Some(value) if !value.is_none() => match integer(value) {
                Some(number) => Ok(Some(number)),
                None => Err(invalid("slice indices must be integers or None or have an __index__ method")),
            },
            _ => Ok(None),
        }
    };
    let step = bound(3)?.unwrap_or(1);
    if step == 0 {
        return Err(invalid("slice step cannot be zero"));
    }
    let (least, most) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |index: i128| if index < 0 { (index + length).max(least) } else { index.min(most) };
    let start = bound(1)?.map_or(if step > 0 { least } else { most }, clamp);
    let stop = bound(2)?.map_or(if step > 0 { most } else { least }, clamp);
    let mut indices = Vec::new();
    let mut at = start;
    while if step > 0 { at < stop } else { at > stop } {
        indices.push(usize::try_from(at).unwrap_or_default());
        at = at.saturating_add(step);
    }
    if let Some(text) = value.as_str() {
        let chars: Vec<char> = text.chars().collect();
        return Ok(Value::from(indices.iter().filter_map(|index| chars.get(*index)).collect::<String>()));
    }
    let all = python::iterate(state, &value)?;
    let items: Vec<Value> = indices.iter().filter_map(|index| all.get(*index).cloned()).collect();
    if value.is_tuple() { Ok(tuple(items)) } else { List::value(items) }
}

fn concat(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut out = String::new();
    for value in args {
        out.push_str(&python::print(state, value)?);
    }
    Ok(Value::from(out))
}

/// `__compare__(a, "<", b, "<=", c)`.
fn compare(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut left = argument(args, 0);
    for pair in args.get(1..).unwrap_or_default().chunks_exact(2) {
        let (operator, right) = (pair[0].as_str().unwrap_or_default(), &pair[1]);
        if !holds(state, &left, operator, right)? {
            return Ok(Value::from(false));
        }
        left = right.clone();
    }
    Ok(Value::from(true))
}

/// Whether a comparison holds.
pub(super) fn holds(state: &mut State, a: &Value, operator: &str, b: &Value) -> Result<bool, Error> {
    Ok(match operator {
        "==" => python::equal(a, b),
        "!=" => !python::equal(a, b),
        "in" => contains(state, b, a)?,
        "not in" => !contains(state, b, a)?,
        _ => {
            let Some(ordering) = python::order(a, b, operator)? else { return Ok(false) };
            match operator {
                "<" => ordering.is_lt(),
                "<=" => ordering.is_le(),
                ">" => ordering.is_gt(),
                _ => ordering.is_ge(),
            }
        }
    })
}

/// `item in container`.
pub(super) fn contains(state: &mut State, container: &Value, item: &Value) -> Result<bool, Error> {
    if let Some(text) = container.as_str() {
        return match item.as_str() {
            Some(part) => Ok(text.contains(part)),
            None => Err(invalid(format!("'in <string>' requires string as left operand, not {}", type_name(item)))),
        };
    }
    if let Some(dict) = container.downcast_object_ref::<Dict>() {
        Key::new(item.clone())?;
        return Ok(dict.get(item).is_some());
    }
    let items = python::iterate(state, container)
        .map_err(|_| invalid(format!("argument of type '{}' is not iterable", type_name(container))))?;
    Ok(items.iter().any(|candidate| python::equal(candidate, item)))
}

fn sign(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (operator, value) = (argument(args, 0), argument(args, 1));
    let negative = operator.as_str() == Some("-");
    if let Some(integer) = integer(&value) {
        return Ok(from_integer(if negative { integer.checked_neg().unwrap_or(integer) } else { integer }));
    }
    if let Some(float) = number(&value) {
        return Ok(Value::from(if negative { -float } else { float }));
    }
    if let Some(span) = value.downcast_object_ref::<Span>() {
        let sign = if negative { -1 } else { 1 };
        return span.with(i128::from(span.microseconds()) * sign);
    }
    let operator = operator.as_str().unwrap_or_default();
    Err(invalid(format!("bad operand type for unary {operator}: '{}'", type_name(&value))))
}

/// `__math__(a, "+", b, "-", c)`, from the left.
fn math(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut left = argument(args, 0);
    for pair in args.get(1..).unwrap_or_default().chunks_exact(2) {
        left = calculate(state, &left, pair[0].as_str().unwrap_or_default(), &pair[1])?;
    }
    Ok(left)
}

/// One arithmetic operation.
pub(super) fn calculate(state: &mut State, a: &Value, operator: &str, b: &Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (integer(a), integer(b)) {
        return integers(x, operator, y);
    }
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return floats(x, operator, y);
    }
    if operator == "%"
        && let Some(format) = a.as_str()
    {
        return text_format::percent(state, format, b).map(Value::from);
    }
    if let Some(result) = spans(a, operator, b)? {
        return Ok(result);
    }
    match operator {
        "+" => add(state, a, b),
        "*" => repeat(state, a, b),
        _ => Err(unsupported(a, operator, b)),
    }
}

fn unsupported(a: &Value, operator: &str, b: &Value) -> Error {
    let operator = if operator == "**" { "** or pow()" } else { operator };
    invalid(format!("unsupported operand type(s) for {operator}: '{}' and '{}'", type_name(a), type_name(b)))
}

fn integers(a: i128, operator: &str, b: i128) -> Result<Value, Error> {
    let too_large = || limit("the number is too large");
    if b == 0 && matches!(operator, "/" | "//" | "%") {
        return Err(invalid(match operator {
            "/" => "division by zero",
            "//" => "integer division or modulo by zero",
            _ => "integer modulo by zero",
        }));
    }
    let result = match operator {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => return Ok(Value::from(a as f64 / b as f64)),
        "//" => {
            let quotient = a.checked_div(b).ok_or_else(too_large)?;
            Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        }
        "%" => {
            let remainder = a.checked_rem(b).unwrap_or(0);
            Some(if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder })
        }
        _ if b < 0 => return floats(a as f64, operator, b as f64),
        _ => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
    };
    result.map(from_integer).ok_or_else(too_large)
}

fn floats(a: f64, operator: &str, b: f64) -> Result<Value, Error> {
    if b == 0.0 && matches!(operator, "/" | "//" | "%") {
        return Err(invalid(match operator {
            "/" => "float division by zero",
            "//" => "float floor division by zero",
            _ => "float modulo",
        }));
    }
    if operator == "**" && a == 0.0 && b < 0.0 {
        return Err(invalid("0.0 cannot be raised to a negative power"));
    }
    let modulo = || {
        let remainder = a % b;
        if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
    };
    Ok(Value::from(match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "//" => {
            let quotient = (a - modulo()) / b;
            let floor = quotient.floor();
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
        "%" => modulo(),
        _ if a < 0.0 && b.fract() != 0.0 => return Err(invalid("a negative number has no real power of a fraction")),
        _ => a.powf(b),
    }))
}

/// Arithmetic with dates and spans of time; none if these are neither.
fn spans(a: &Value, operator: &str, b: &Value) -> Result<Option<Value>, Error> {
    let span = |value: &Value| value.downcast_object_ref::<Span>().map(|span| i128::from(span.microseconds()));
    let moment = |value: &Value| value.downcast_object::<Moment>();
    if let (Some(left), Some(right)) = (a.downcast_object_ref::<Span>(), span(b)) {
        let micros = i128::from(left.microseconds());
        return Ok(Some(match operator {
            "+" => left.with(micros + right)?,
            "-" => left.with(micros - right)?,
            "/" | "//" | "%" if right == 0 => return Err(invalid("division by zero")),
            "/" => Value::from(micros as f64 / right as f64),
            "//" => from_integer(micros.div_euclid(right)),
            "%" => left.with(micros.rem_euclid(right))?,
            _ => return Ok(None),
        }));
    }
    if let (Some(left), Some(factor)) = (a.downcast_object_ref::<Span>(), number(b)) {
        let micros = left.microseconds();
        let round = |value: f64| value.round_ties_even() as i128;
        return Ok(Some(match operator {
            "*" => match integer(b) {
                Some(factor) => left.with(i128::from(micros).saturating_mul(factor))?,
                None => left.with(round(micros as f64 * factor))?,
            },
            "/" | "//" if factor == 0.0 => return Err(invalid("division by zero")),
            "/" => left.with(round(micros as f64 / factor))?,
            "//" => left.with((micros as f64 / factor).floor() as i128)?,
            _ => return Ok(None),
        }));
    }
    if operator == "*" && number(a).is_some() && span(b).is_some() {
        return spans(b, operator, a);
    }
    if let Some(left) = moment(a) {
        return match (operator, span(b), moment(b), b.downcast_object_ref::<RelativeDelta>()) {
            ("+", Some(right), _, _) => left.plus(right).map(Some),
            ("-", Some(right), _, _) => left.plus(-right).map(Some),
            ("-", _, Some(right), _) => left.minus(&right).map(Some),
            ("+" | "-", _, _, Some(delta)) => delta.apply(&left, operator == "-").map(Some),
            _ => Ok(None),
        };
    }
    if operator == "+"
        && moment(b).is_some()
        && (span(a).is_some() || a.downcast_object_ref::<RelativeDelta>().is_some())
    {
        return spans(b, operator, a);
    }
    if let Some(left) = a.downcast_object_ref::<Date>() {
        let days = b.downcast_object_ref::<Span>().map(Span::days);
        return match (operator, days, b.downcast_object_ref::<Date>()) {
            ("+", Some(days), _) => left.plus_days(days).map(Some),
            ("-", Some(days), _) => left.plus_days(-days).map(Some),
            ("-", _, Some(right)) => Ok(Some(Span::of_days((left.0 - right.0).num_days()))),
            _ => Ok(None),
        };
    }
    Ok(None)
}

fn add(state: &mut State, a: &Value, b: &Value) -> Result<Value, Error> {
    if let Some(left) = a.as_str() {
        let Some(right) = b.as_str() else {
            return Err(invalid(format!("can only concatenate str (not \"{}\") to str", type_name(b))));
        };
        spend(state, left.len() + right.len())?;
        return Ok(Value::from([left, right].concat()));
    }
    if let Some(left) = a.downcast_object_ref::<List>() {
        let Some(right) = b.downcast_object_ref::<List>() else {
            return Err(invalid(format!("can only concatenate list (not \"{}\") to list", type_name(b))));
        };
        let mut items = left.items();
        items.extend(right.items());
        spend(state, items.len())?;
        return List::value(items);
    }
    if let Some(left) = a.downcast_object_ref::<Tuple>() {
        let Some(right) = b.downcast_object_ref::<Tuple>() else {
            return Err(invalid(format!("can only concatenate tuple (not \"{}\") to tuple", type_name(b))));
        };
        spend(state, left.len() + right.len())?;
        return Ok(tuple([&left[..], &right[..]].concat()));
    }
    Err(unsupported(a, "+", b))
}

fn repeat(state: &mut State, a: &Value, b: &Value) -> Result<Value, Error> {
    let is_sequence =
        |value: &Value| value.as_str().is_some() || value.is_tuple() || value.downcast_object_ref::<List>().is_some();
    let (sequence, count) = match (is_sequence(a), is_sequence(b)) {
        (true, _) => (a, b),
        (_, true) => (b, a),
        _ => return Err(unsupported(a, "*", b)),
    };
    let Some(count) = integer(count) else {
        return Err(invalid(format!("can't multiply sequence by non-int of type '{}'", type_name(count))));
    };
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    let length = sequence.as_str().map_or_else(|| sequence.len().unwrap_or(0), str::len);
    spend(state, length.saturating_mul(count))?;
    if length == 0 {
        return Ok(sequence.clone());
    }
    if let Some(text) = sequence.as_str() {
        return Ok(Value::from(text.repeat(count)));
    }
    let items = python::iterate(state, sequence)?;
    let items: Vec<Value> = std::iter::repeat_n(items, count).flatten().collect();
    if sequence.is_tuple() { Ok(tuple(items)) } else { List::value(items) }
}

/// `range(…)` within the limit of Jinja2's sandbox.
pub(super) fn range(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    const MAX_RANGE: i128 = 100_000;
    let args = Args::new(args);
    let mut numbers = Vec::new();
    for value in &args.positional {
        match integer(value) {
            Some(number) => numbers.push(number),
            None => {
                return Err(invalid(format!("'{}' object cannot be interpreted as an integer", type_name(value))));
            }
        }
    }
    let (start, stop, step) = match numbers[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [_, _, 0] => return Err(invalid("range() arg 3 must not be zero")),
        [start, stop, step] => (start, stop, step),
        _ => return Err(invalid("range expected 1 to 3 arguments")),
    };
    let distance = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
    let step_size = i128::try_from(step.unsigned_abs()).unwrap_or(i128::MAX);
    let count = if distance <= 0 { 0 } else { (distance - 1) / step_size + 1 };
    if count > MAX_RANGE {
        return Err(limit(format!("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MAX_RANGE}).")));
    }
    spend(state, usize::try_from(count).unwrap_or_default())?;
    let items = (0..count).map(|index| from_integer(start + index * step)).collect();
    let print = match step {
        1 => format!("range({start}, {stop})"),
        step => format!("range({start}, {stop}, {step})"),
    };
    Ok(View::value(items, super::object::ViewPrint::Text(print)))
}
