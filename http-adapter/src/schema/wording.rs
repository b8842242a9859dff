//! The sentences of Python's `jsonschema`.

use jsonschema::error::ValidationErrorKind as Kind;

use super::ordered::{Ordered, quote};

/// What Python says of an `instance` that breaks the `keyword` of `schema`.
pub(super) fn message(keyword: &str, schema: &Ordered, instance: &Ordered, kind: &Kind) -> String {
    let shown = instance.repr();
    let value = schema.get(keyword);
    let limit = || value.map(Ordered::repr).unwrap_or_default();
    let sized = |empty: u64, when_empty: &str, otherwise: &str| {
        let text = if value.and_then(Ordered::as_u64) == Some(empty) { when_empty } else { otherwise };
        format!("{shown} {text}")
    };
    match kind {
        Kind::Custom { message, .. } => message.clone(),
        Kind::Type { .. } => {
            let names = match value {
                Some(Ordered::Array(names)) => names.iter().map(Ordered::repr).collect::<Vec<_>>().join(", "),
                Some(name) => name.repr(),
                None => String::new(),
            };
            format!("{shown} is not of type {names}")
        }
        Kind::Enum { .. } => format!("{shown} is not one of {}", limit()),
        Kind::Constant { .. } => format!("{} was expected", limit()),
        Kind::Required { property } if matches!(keyword, "dependentRequired" | "dependencies") => {
            let property = Ordered::from(property);
            let needs =
                |(key, names): &&(String, Ordered)| instance.get(key).is_some() && names.items().contains(&property);
            let key = value.map(Ordered::members).unwrap_or_default().iter().find(needs);
            format!("{} is a dependency of {}", property.repr(), quote(key.map_or("", |(key, _)| key)))
        }
        Kind::Required { property } => {
            format!("{} is a required property", Ordered::from(property).repr())
        }
        Kind::AdditionalProperties { unexpected } => match schema.get("patternProperties") {
            Some(patterns) => unmatched_members(unexpected.clone(), patterns),
            None => unexpected_members(unexpected.clone()),
        },
        Kind::PropertyNames { error } => {
            let name = Ordered::from(error.instance().as_ref());
            let inner = if keyword == "propertyNames" { value.unwrap_or(&Ordered::Null) } else { schema };
            message(error.kind().keyword(), inner, &name, error.kind())
        }
        Kind::FalseSchema if keyword == "additionalProperties" => {
            unexpected_members(instance.members().iter().map(|(name, _)| name.clone()).collect())
        }
        Kind::Minimum { limit } => format!("{shown} is less than the minimum of {}", Ordered::from(limit).repr()),
        Kind::Maximum { limit } => format!("{shown} is greater than the maximum of {}", Ordered::from(limit).repr()),
        Kind::ExclusiveMinimum { limit } => {
            format!("{shown} is less than or equal to the minimum of {}", Ordered::from(limit).repr())
        }
        Kind::ExclusiveMaximum { limit } => {
            format!("{shown} is greater than or equal to the maximum of {}", Ordered::from(limit).repr())
        }
        Kind::MultipleOf { .. } => format!("{shown} is not a multiple of {}", limit()),
        Kind::MinItems { .. } | Kind::MinLength { .. } => sized(1, "should be non-empty", "is too short"),
        Kind::MaxItems { .. } | Kind::MaxLength { .. } => sized(0, "is expected to be empty", "is too long"),
        Kind::MinProperties { .. } => sized(1, "should be non-empty", "does not have enough properties"),
        Kind::MaxProperties { .. } => sized(0, "is expected to be empty", "has too many properties"),
        Kind::Pattern { .. } => format!("{shown} does not match {}", limit()),
        Kind::Format { format } => format!("{shown} is not a {}", quote(format)),
        Kind::Contains => format!("{shown} does not contain items matching the given schema"),
        Kind::UnevaluatedProperties { unexpected } => {
            unexpected_members(unexpected.clone()).replacen("Additional", "Unevaluated", 1)
        }
        Kind::UniqueItems => format!("{shown} has non-unique elements"),
        Kind::Not { .. } => format!("{shown} should not be valid under {}", limit()),
        Kind::FalseSchema => format!("False schema does not allow {shown}"),
        Kind::OneOfMultipleValid { context } => {
            let options = value.map(Ordered::items).unwrap_or_default().iter().zip(context);
            let mut valid: Vec<_> =
                options.filter(|(_, errors)| errors.is_empty()).map(|(one, _)| one.repr()).collect();
            // Python tells the first last.
            let first = valid.len().min(1);
            valid.rotate_left(first);
            format!("{shown} is valid under each of {}", valid.join(", "))
        }
        // `anyOf`, `oneOf`, and what no schema of ours uses.
        _ => format!("{shown} is not valid under any of the given schemas"),
    }
}

fn unmatched_members(mut names: Vec<String>, patterns: &Ordered) -> String {
    names.sort();
    let verb = if names.len() == 1 { "does" } else { "do" };
    let mut patterns: Vec<_> = patterns.members().iter().map(|(pattern, _)| quote(pattern)).collect();
    patterns.sort();
    let names: Vec<_> = names.iter().map(|name| quote(name)).collect();
    format!("{} {verb} not match any of the regexes: {}", names.join(", "), patterns.join(", "))
}

fn unexpected_members(mut names: Vec<String>) -> String {
    names.sort();
    let verb = if names.len() == 1 { "was" } else { "were" };
    let names: Vec<_> = names.iter().map(|name| quote(name)).collect();
    format!("Additional properties are not allowed ({} {verb} unexpected)", names.join(", "))
}
