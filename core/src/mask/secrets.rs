use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{MASK, SensitiveNames};
use crate::model::Connection;

/// Shorter texts are not masked: they are in too many words to hide anything.
const MIN_CHARS: usize = 3;

/// Lines of a secret that has several are secrets, too, if they are not shorter than this.
const MIN_LINE_CHARS: usize = 8;

/// What Python's `quote(…, safe='')` escapes.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// What Python's `quote` escapes.
const QUOTED_PATH: &AsciiSet = &QUOTED.remove(b'/');

/// The secrets that a try has fetched: what it shows from then on does not show them. They are never forgotten.
pub struct Secrets {
    names: SensitiveNames,
    known: RwLock<Known>,
    is_empty: AtomicBool,
}

#[derive(Default)]
struct Known {
    texts: BTreeSet<String>,
    finder: Option<AhoCorasick>,
}

impl Debug for Secrets {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("is_empty", &self.is_empty).finish_non_exhaustive()
    }
}

impl Secrets {
    /// None yet; `names` tell which variables and fields are secrets.
    pub fn new(names: SensitiveNames) -> Self {
        Self { names, known: RwLock::default(), is_empty: AtomicBool::new(true) }
    }

    /// Takes note of a secret.
    pub fn add(&self, secret: &str) {
        self.add_all([secret]);
    }

    /// Takes note of what is secret in a variable: all of it if its name says so, and what has such a name in its JSON.
    pub fn add_variable(&self, key: &str, value: &str) {
        if self.names.is_sensitive(key) {
            self.add(value);
        }
        if value.trim_start().starts_with(['{', '['])
            && let Ok(value) = serde_json::from_str::<Value>(value)
        {
            self.add_all(self.names.texts_of_secrets(key, &value));
        }
    }

    /// Takes note of what is secret in a connection: its password, and what has such a name in its extra.
    pub fn add_connection(&self, connection: &Connection) {
        self.add_all(connection.password.as_deref());
        if let Some(Ok(extra)) = connection.extra.as_deref().map(serde_json::from_str::<Value>) {
            self.add_all(self.names.texts_of_secrets("", &extra));
        }
    }

    fn add_all<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let forms: BTreeSet<String> = secrets.into_iter().flat_map(forms).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let count = known.texts.len();
        known.texts.extend(forms);
        if known.texts.len() == count {
            return;
        }
        match AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&known.texts) {
            Ok(finder) => {
                known.finder = Some(finder);
                self.is_empty.store(false, Ordering::Release);
            }
            // Secrets of gigabytes, which nobody could store.
            Err(error) => tracing::error!(%error, "secrets cannot be masked"),
        }
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// A text without the secrets.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => text.into(),
            // Secrets are whole characters, so what is around them is, too.
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        }
    }

    /// Bytes without the secrets.
    pub fn mask_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return bytes.into();
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = &known.finder else { return bytes.into() };
        let (mut masked, mut end) = (Vec::new(), 0);
        for found in finder.find_iter(bytes) {
            masked.extend_from_slice(&bytes[end..found.start()]);
            masked.extend_from_slice(MASK.as_bytes());
            end = found.end();
        }
        if end == 0 {
            return bytes.into();
        }
        masked.extend_from_slice(&bytes[end..]);
        masked.into()
    }

    /// How much of `bytes` can be masked before more is known: behind it begins what may go on as a secret.
    pub fn settled(&self, bytes: &[u8]) -> usize {
        if self.is_empty() {
            return bytes.len();
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = &known.finder else { return bytes.len() };
        let longest = known.texts.iter().map(String::len).max().unwrap_or(0);
        let may_go_on = |at: &usize| {
            let rest = &bytes[*at..];
            known.texts.iter().any(|text| text.len() > rest.len() && text.as_bytes().starts_with(rest))
        };
        let mut open = (bytes.len().saturating_sub(longest)..bytes.len()).find(may_go_on).unwrap_or(bytes.len());
        // What a secret covers that is whole already, does not begin another.
        for found in finder.find_iter(bytes) {
            if found.start() >= open {
                break;
            }
            if found.end() > open {
                open = (found.end()..bytes.len()).find(may_go_on).unwrap_or(bytes.len());
            }
        }
        open
    }

    /// The value of a field as it may be shown: without secrets, and hidden below names that are those of secrets.
    pub fn redact(&self, name: &str, mut value: Value) -> Value {
        self.names.redact_texts(name, &mut value, |text| {
            if let Cow::Owned(masked) = self.mask(text) {
                *text = masked;
            }
        });
        value
    }
}

/// How a secret may show: as it is, as a part of URLs, inside JSON, line by line.
fn forms(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    let quoted = utf8_percent_encode(secret, QUOTED).to_string();
    forms.insert(quoted.replace("%20", "+"));
    forms.insert(quoted);
    forms.insert(utf8_percent_encode(secret, QUOTED_PATH).to_string());
    let json = Value::from(secret).to_string();
    forms.insert(json[1..json.len() - 1].to_owned());
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim).filter(|line| line.chars().nth(MIN_LINE_CHARS - 1).is_some());
        forms.extend(lines.map(str::to_owned));
    }
    forms.insert(secret.to_owned());
    forms.retain(|form| form.chars().nth(MIN_CHARS - 1).is_some());
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let secrets = Secrets::new(SensitiveNames::default());
        texts.iter().for_each(|text| secrets.add(text));
        secrets
    }

    #[test]
    fn secrets_are_masked_in_all_their_forms() {
        let secrets = secrets(&["pä/ss \"w\"", "canary", "can", "x", ""]);
        for (text, expected) in [
            ("the canary can sing", "the *** *** sing"),
            ("x", "x"),
            ("postgres://u:p%C3%A4%2Fss%20%22w%22@h", "postgres://u:***@h"),
            ("p%C3%A4/ss%20%22w%22", "***"),
            ("?a=p%C3%A4%2Fss+%22w%22", "?a=***"),
            (r#"{"a": "pä/ss \"w\""}"#, r#"{"a": "***"}"#),
            ("pä/ss \"w\" ✓", "*** ✓"),
        ] {
            assert_eq!(secrets.mask(text), expected);
        }
        assert!(matches!(secrets.mask("nothing"), Cow::Borrowed(_)));
        assert!(!format!("{secrets:?}").contains("canary"));
    }

    #[test]
    fn lines_of_a_secret_are_secrets() {
        let secrets = secrets(&["-----BEGIN KEY-----\nabcdefgh\nij\n"]);
        assert_eq!(secrets.mask("abcdefgh"), "***");
        assert_eq!(secrets.mask("ij"), "ij");
    }

    #[test]
    fn variables_and_connections_tell_their_secrets() {
        let secrets = Secrets::new(SensitiveNames::default());
        secrets.add_variable("plain", "visible");
        secrets.add_variable("api_key", "canary-1");
        secrets.add_variable("config", r#"{"host": "db", "password": "canary-2", "tokens": ["canary-3"]}"#);
        secrets.add_connection(&Connection {
            login: Some("user".into()),
            password: Some("canary-4".into()),
            extra: Some(r#"{"region": "eu-1", "aws_secret": "canary-5"}"#.into()),
            ..Connection::default()
        });
        secrets.add_connection(&Connection { extra: Some("no json".into()), ..Connection::default() });
        let text = "visible canary-1 db canary-2 canary-3 user canary-4 eu-1 canary-5 no json";
        assert_eq!(secrets.mask(text), "visible *** db *** *** user *** eu-1 *** no json");
        let value = json!({"a": ["canary-1", {"b": "is canary-4"}], "password": "other", "n": 1});
        let shown = json!({"a": ["***", {"b": "is ***"}], "password": "***", "n": 1});
        assert_eq!(secrets.redact("field", value), shown);
        assert_eq!(secrets.redact("my_token", json!("other")), json!("***"));
    }

    #[test]
    fn what_may_go_on_as_a_secret_waits() {
        let secrets = secrets(&["canary", "canary-two", "ary!"]);
        for (bytes, expected) in [("xcan", 1), ("x", 1), ("", 0), ("canary", 0), ("canaryx", 7), ("a canary-tw", 2)] {
            assert_eq!(secrets.settled(bytes.as_bytes()), expected, "{bytes}");
        }
        assert_eq!(Secrets::new(SensitiveNames::default()).settled(b"can"), 3);
    }

    proptest! {
        /// Whatever is cut where, what is settled and masked piece by piece is what is masked as a whole.
        #[test]
        fn pieces_are_masked_as_the_whole(
            texts in proptest::collection::vec("[ab]{3,6}", 1..4),
            text in "[abc]{0,40}",
            cut in 0_usize..40,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let secrets = secrets(&texts);
            let cut = cut.min(text.len());
            let head = secrets.settled(&text.as_bytes()[..cut]);
            let pieces = format!("{}{}", secrets.mask(&text[..head]), secrets.mask(&text[head..]));
            prop_assert_eq!(pieces, secrets.mask(&text));
        }
    }
}
