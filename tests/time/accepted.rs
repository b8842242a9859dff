//! Differences from Airflow that are accepted.

use std::collections::BTreeSet;
use std::path::Path;

/// The accepted differences of a scenario: `accepted.tsv` beside the scenarios has for each the scenario, the number of the
/// step, the place, and the reason. A place stands for all that is below it, too.
pub(crate) struct Accepted {
    entries: Vec<(usize, String)>,
    occurred: BTreeSet<usize>,
}

impl Accepted {
    pub(crate) fn of(scenario: &Path) -> Self {
        let name = scenario.file_name().unwrap().to_str().unwrap();
        let list = std::fs::read_to_string(scenario.with_file_name("accepted.tsv")).unwrap();
        let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let entries = lines.filter_map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [of, step, place, reason] = columns[..] else { panic!("four columns: {line}") };
            assert!(!reason.is_empty(), "a reason: {line}");
            (of == name).then(|| (step.parse().unwrap(), place.to_owned()))
        });
        Self { entries: entries.collect(), occurred: BTreeSet::new() }
    }

    /// Those of a step's differences that are not accepted.
    pub(crate) fn unknown(&mut self, step: usize, differences: Vec<String>) -> Vec<String> {
        let mut unknown = Vec::new();
        for difference in differences {
            let is_known = self.entries.iter().position(|(of, place)| {
                let rest = difference.strip_prefix(place.as_str()).filter(|_| *of == step);
                rest.is_some_and(|rest| rest.starts_with([':', '/']))
            });
            match is_known {
                Some(entry) => drop(self.occurred.insert(entry)),
                None => unknown.push(difference),
            }
        }
        unknown
    }

    /// # Panics
    /// One did not occur: then it is none any more.
    pub(crate) fn all_occurred(&self) {
        let missing = (0..self.entries.len()).filter(|entry| !self.occurred.contains(entry));
        let missing: Vec<_> = missing.map(|entry| &self.entries[entry]).collect();
        assert!(missing.is_empty(), "equal after all: {missing:?}");
    }
}
