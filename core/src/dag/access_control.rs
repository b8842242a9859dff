//! Who may access a DAG, as it declares it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{Action, DAG_PREFIX, DAG_RUN_PREFIX, Dag, Resource};

/// What a role may be given on a DAG.
const ON_DAG: &[Action] = &[Action::Create, Action::Read, Action::Edit, Action::Delete, Action::Menu];

/// A permission on one DAG or its runs that the DAG gives to a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The role's name.
    pub role: String,
    /// The action's name.
    pub action: String,
    /// The resource's name, which holds the DAG's id.
    pub resource: String,
}

/// The permission on one DAG, or on its runs, as roles name it.
pub fn dag_resource(resource: Resource, dag_id: &str) -> Option<String> {
    match resource {
        Resource::Dags => Some(format!("{DAG_PREFIX}{dag_id}")),
        Resource::DagRuns => Some(format!("{DAG_RUN_PREFIX}{dag_id}")),
        _ => None,
    }
}

/// Whether a DAG may give this action on itself or its runs.
fn is_allowed(resource: Resource, action: Action) -> bool {
    match resource {
        Resource::Dags => matches!(action, Action::Read | Action::Edit | Action::Delete),
        Resource::DagRuns => matches!(action, Action::Read | Action::Create | Action::Delete | Action::Menu),
        _ => false,
    }
}

/// Checks what a DAG declares, `{role: [actions]}` or `{role: {"DAGs": [actions], "DAG Runs": [actions]}}`, and gives it in
/// the second form, sorted.
///
/// # Errors
/// Says what is wrong.
pub fn read_access_control(declared: &Value) -> Result<Value, String> {
    let Value::Object(roles) = declared else {
        return Err("access_control must be a mapping of roles".into());
    };
    let mut read = BTreeMap::new();
    for (role, given) in roles {
        let resources = match given {
            Value::Object(resources) => resources.clone(),
            actions => Map::from_iter([(Resource::Dags.to_string(), actions.clone())]),
        };
        let mut of_role = BTreeMap::new();
        for (name, actions) in &resources {
            let resource = [Resource::Dags, Resource::DagRuns].into_iter().find(|resource| resource.as_str() == name);
            let resource = resource.ok_or_else(|| {
                format!(
                    "access_control of the role '{role}' names the resource '{name}'; there are 'DAGs' and 'DAG Runs'"
                )
            })?;
            of_role.insert(name.clone(), read_actions(role, resource, actions)?);
        }
        read.insert(role.clone(), of_role);
    }
    serde_json::to_value(read).map_err(|error| error.to_string())
}

fn read_actions(role: &str, resource: Resource, actions: &Value) -> Result<BTreeSet<&'static str>, String> {
    let Value::Array(actions) = actions else {
        return Err(format!("access_control of the role '{role}' must list the actions on '{resource}'"));
    };
    let read = |action: &Value| {
        let text = match action.as_str() {
            Some("can_dag_read") if resource == Resource::Dags => Some("can_read"),
            Some("can_dag_edit") if resource == Resource::Dags => Some("can_edit"),
            text => text,
        };
        let known = text.and_then(|text| text.parse::<Action>().ok()).filter(|action| is_allowed(resource, *action));
        known.map(Action::as_str).ok_or_else(|| {
            let allowed = ON_DAG.iter().filter(|action| is_allowed(resource, **action)).map(|action| action.as_str());
            format!(
                "access_control of the role '{role}' names the action {action} on '{resource}'; there are {}",
                allowed.collect::<Vec<_>>().join(", ")
            )
        })
    };
    actions.iter().map(read).collect()
}

/// What a DAG that was checked gives to roles; none if it does not say.
pub fn grants(dag: &Dag) -> Option<BTreeSet<Grant>> {
    let mut grants = BTreeSet::new();
    // A version that was stored unchecked gives what of it is right.
    let declared = read_access_control(dag.access_control.as_ref()?).unwrap_or_default();
    for (role, resources) in declared.as_object().into_iter().flatten() {
        for (name, actions) in resources.as_object().into_iter().flatten() {
            let resource = name.parse().ok().and_then(|resource| dag_resource(resource, dag.dag_id.as_str()));
            let Some(resource) = resource else { continue };
            for action in actions.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let (role, action, resource) = (role.clone(), action.to_owned(), resource.clone());
                grants.insert(Grant { role, action, resource });
            }
        }
    }
    Some(grants)
}

/// The roles that a DAG names.
pub fn named_roles(dag: &Dag) -> impl Iterator<Item = &str> {
    dag.access_control.as_ref().and_then(Value::as_object).into_iter().flatten().map(|(role, _)| role.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let read = read_access_control(&json!({
            "b": ["can_read", "can_dag_edit", "can_read"],
            "a": {"DAG Runs": ["can_create"], "DAGs": []},
        }));
        let expected = json!({
            "a": {"DAG Runs": ["can_create"], "DAGs": []},
            "b": {"DAGs": ["can_edit", "can_read"]},
        });
        assert_eq!(read, Ok(expected.clone()));
        let mut dag = Dag::new("x.y");
        assert_eq!(grants(&dag), None);
        dag.access_control = Some(expected);
        let grants: Vec<_> = grants(&dag).unwrap().into_iter().map(|g| (g.role, g.action, g.resource)).collect();
        let grant = |role: &str, action: &str, resource: &str| (role.into(), action.into(), resource.into());
        assert_eq!(
            grants,
            [
                grant("a", "can_create", "DAG Run:x.y"),
                grant("b", "can_edit", "DAG:x.y"),
                grant("b", "can_read", "DAG:x.y")
            ]
        );
        assert_eq!(named_roles(&dag).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (declared, part) in [
            (json!(["a"]), "mapping"),
            (json!({"a": "can_read"}), "list"),
            (json!({"a": ["can_fly"]}), "can_fly"),
            (json!({"a": ["can_create"]}), "can_create"),
            (json!({"a": [1]}), "1"),
            (json!({"a": {"Pools": ["can_read"]}}), "Pools"),
            (json!({"a": {"DAG Runs": ["can_edit"]}}), "can_edit"),
        ] {
            let error = read_access_control(&declared).unwrap_err();
            assert!(error.contains(part) && error.contains("access_control"), "{error}");
        }
    }
}
