//! The configuration.

use serde_json::json;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::config::ConfigOption;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::Plain(Action::Read, Resource::Configurations);
    vec![operation!(get_config, access, get_config), operation!(get_value, access, get_value)]
}

/// How the configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// A section by its name, with its options.
type Section<'a> = (&'a str, Vec<(&'a str, &'a str)>);

async fn get_config(call: Call) -> Answer {
    let Some(format) = format_of(&call) else { return Ok(Reply::not_acceptable("")) };
    check_is_exposed(&call)?;
    let wanted = call.query.text("section").filter(|section| !section.is_empty());
    let mut sections: Vec<Section<'_>> = Vec::new();
    for option in call.state.config.iter().filter(|option| wanted.is_none_or(|wanted| option.section() == wanted)) {
        let shown = (option.key(), option.shown());
        match sections.iter_mut().find(|(name, _)| *name == option.section()) {
            Some((_, options)) => options.push(shown),
            None => sections.push((option.section(), vec![shown])),
        }
    }
    match wanted {
        Some(wanted) if sections.is_empty() => {
            Err(Problem::not_found("section not found.", Some(format!("section={wanted} not found."))))
        }
        _ => Ok(written(&sections, format)),
    }
}

async fn get_value(call: Call) -> Answer {
    let Some(format) = format_of(&call) else { return Ok(Reply::not_acceptable("")) };
    check_is_exposed(&call)?;
    let (section, key) = (call.path_text("section"), call.path_text("option"));
    let is_asked = |option: &&ConfigOption| {
        option.section().eq_ignore_ascii_case(section) && option.key().eq_ignore_ascii_case(key)
    };
    match call.state.config.iter().find(is_asked) {
        // Under the names that were asked for.
        Some(option) => Ok(written(&[(section, vec![(key, option.shown())])], format)),
        None => {
            let detail = format!("The option [{section}/{key}] is not found in config.");
            Err(Problem::not_found("Config not found.", Some(detail)))
        }
    }
}

/// None if the caller accepts neither.
fn format_of(call: &Call) -> Option<Format> {
    match call.accepts(&["text/plain", "application/json"])? {
        "text/plain" => Some(Format::Text),
        _ => Some(Format::Json),
    }
}

fn check_is_exposed(call: &Call) -> Result<(), Problem> {
    if call.state.exposes_config {
        return Ok(());
    }
    let detail = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons.";
    Err(Problem::forbidden(Some(detail.to_owned())))
}

fn written(sections: &[Section<'_>], format: Format) -> Reply {
    match format {
        Format::Text => {
            let section = |(name, options): &Section<'_>| {
                let lines: Vec<_> = options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("[{name}]\n{}\n", lines.join("\n"))
            };
            Reply::text(sections.iter().map(section).collect::<Vec<_>>().join("\n"))
        }
        Format::Json => {
            let section = |(name, options): &Section<'_>| {
                let options: Vec<_> = options.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
                json!({"name": name, "options": options})
            };
            Reply::json_indented(&json!({"sections": sections.iter().map(section).collect::<Vec<_>>()}))
        }
    }
}
