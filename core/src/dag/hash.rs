use sha2::{Digest, Sha256};

use crate::model::Dag;

/// The hash by which versions of a DAG are told apart: SHA-256 over its JSON, in hexadecimal. Members of objects
/// are in the order of their declaration, which counts: Python's dictionaries keep it, and templates show it.
pub fn content_hash(dag: &Dag) -> String {
    let mut hasher = Sha256::new();
    // A DAG is plain data with text keys: writing it as JSON to a hasher cannot fail.
    let written = serde_json::to_writer(HashWriter(&mut hasher), dag);
    debug_assert!(written.is_ok(), "a DAG can be written as JSON");
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::content_hash;
    use crate::model::{Dag, OperatorRef, Task};

    #[test]
    fn the_hash_follows_the_content() {
        let mut dag = Dag::new("a");
        dag.tasks.push(Task::new("one", OperatorRef::from_path("x.Y")));
        let hash = content_hash(&dag);
        assert_eq!(hash, content_hash(&dag.clone()));
        assert_eq!(hash.len(), 64);
        dag.tasks[0].retries = 1;
        assert_ne!(hash, content_hash(&dag));
    }
}
