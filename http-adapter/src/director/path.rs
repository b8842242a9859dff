//! Which paths there are.

use http::Method;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    Ping,
    Workflows,
    Workflow(String),
    Relaunch(String),
    Cancel(String),
    Definitions,
}

impl Path {
    /// The path without its prefix, as it was sent.
    pub(super) fn find(path: &str) -> Option<Self> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let mut parts = decoded.strip_prefix('/')?.split('/');
        let found = match (parts.next()?, parts.next(), parts.next()) {
            ("ping", None, None) => Self::Ping,
            ("workflows", None, None) => Self::Workflows,
            ("definitions", None, None) => Self::Definitions,
            ("workflows", Some(id), rest) if !id.is_empty() => match rest {
                None => Self::Workflow(id.to_owned()),
                Some("relaunch") => Self::Relaunch(id.to_owned()),
                Some("cancel") => Self::Cancel(id.to_owned()),
                Some(_) => return None,
            },
            _ => return None,
        };
        parts.next().is_none().then_some(found)
    }

    /// What may be done with it.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Workflows => "GET, HEAD, OPTIONS, POST",
            Self::Ping | Self::Workflow(_) | Self::Definitions => "GET, HEAD, OPTIONS",
            Self::Relaunch(_) | Self::Cancel(_) => "OPTIONS, POST",
        }
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|one| one == method.as_str())
    }
}

/// An id in one of the spellings that Python's `UUID` takes: of any case, with hyphens anywhere or nowhere, in braces or
/// after `urn:uuid:`.
pub(super) fn workflow_id(text: &str) -> Option<Uuid> {
    let plain = text.replace("urn:", "").replace("uuid:", "");
    let digits: String = plain.trim_matches(['{', '}']).chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| Uuid::try_parse(&digits).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_spelled_as_in_python() {
        let id = "9e2b1c3a-0000-4000-8000-00000000000f";
        for spelling in [
            id,
            "9E2B1C3A-0000-4000-8000-00000000000F",
            "9e2b1c3a00004000800000000000000f",
            "{9e2b1c3a-0000-4000-8000-00000000000f}",
            "urn:uuid:9e2b1c3a-0000-4000-8000-00000000000f",
        ] {
            assert_eq!(workflow_id(spelling).map(|id| id.to_string()).as_deref(), Some(id), "{spelling}");
        }
        for wrong in ["", "1", "not-a-uuid", "9e2b1c3a-0000-4000-8000", "9e2b1c3a-0000-4000-8000-00000000000g"] {
            assert_eq!(workflow_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_are_as_in_director() {
        assert_eq!(Path::find("/workflows"), Some(Path::Workflows));
        assert_eq!(Path::find("/workflows/a%20b/cancel"), Some(Path::Cancel("a b".into())));
        for unknown in ["", "/", "/workflows/", "/ping/", "/tasks", "/workflows/a/b", "/workflows/a/cancel/", "//ping"]
        {
            assert_eq!(Path::find(unknown), None, "{unknown}");
        }
    }
}
