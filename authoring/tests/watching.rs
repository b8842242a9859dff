//! What changes in a folder is noticed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use updraft_authoring::{FolderChange, FolderWatch};

fn dag(id: &str, retries: u32) -> String {
    format!("{id}: {{tasks: {{a: {{operator: empty, retries: {retries}}}}}}}\n")
}

fn registered(change: &FolderChange) -> Vec<&str> {
    change.registrations.iter().map(|registration| registration.dag.dag_id.as_str()).collect()
}

fn removed(change: &FolderChange) -> Vec<&str> {
    change.removed.iter().map(updraft_core::id::DagId::as_str).collect()
}

fn watch(folder: &Path) -> FolderWatch {
    FolderWatch::new(support::loader(folder), true)
}

#[test]
fn new_changed_and_removed_files_take_effect() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", &dag("one", 1));
    write("b.yaml", &(dag("two", 1) + &dag("three", 1)));
    let mut watch = watch(folder.path());
    let change = watch.scan();
    assert_eq!(registered(&change), ["one", "two", "three"]);
    assert!(change.registrations[0].paused_upon_creation);
    assert_eq!(change.registrations[0].source.as_deref(), Some(dag("one", 1).as_str()));
    assert!(watch.scan().is_empty());

    // The same size, and perhaps the same time: only the content tells.
    write("a.yaml", &dag("one", 2));
    let change = watch.scan();
    assert_eq!((registered(&change), removed(&change)), (vec!["one"], vec![]));

    write("b.yaml", &dag("two", 1));
    write("c.yaml", &dag("four", 1));
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    let change = watch.scan();
    // Of `two` only the file's text has changed, which clients may read.
    assert_eq!((registered(&change), removed(&change)), (vec!["two", "four"], vec!["one", "three"]));
    assert!(watch.scan().is_empty());
}

#[test]
fn import_errors_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, dag("one", 1) + &dag("two", 1)).unwrap();
    let mut watch = watch(folder.path());
    watch.scan();
    std::fs::write(&path, dag("one", 1) + "two: {tasks: {a: {operator: nothing.Known}}}\n").unwrap();
    let change = watch.scan();
    assert_eq!((registered(&change), removed(&change)), (vec!["one"], vec![]), "the last good version of two stays");
    let (file, error) = &change.import_errors[0];
    assert_eq!(Path::new(file), path);
    assert!(error.as_ref().unwrap().contains("nothing.Known"));
    assert!(watch.scan().is_empty());

    std::fs::write(&path, dag("one", 1)).unwrap();
    let change = watch.scan();
    assert_eq!(removed(&change), ["two"]);
    assert_eq!(change.import_errors, [(path.display().to_string(), None)]);

    std::fs::write(&path, "one: [").unwrap();
    watch.scan();
    std::fs::remove_file(&path).unwrap();
    let change = watch.scan();
    assert_eq!(removed(&change), ["one"]);
    assert_eq!(change.import_errors, [(path.display().to_string(), None)]);
}

#[test]
fn defaults_and_ignore_files_are_watched() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", "one: {tasks: {a: {operator: empty}}}\n");
    let mut watch = watch(folder.path());
    watch.scan();
    write("defaults.yml", "default_args: {retries: 4}\n");
    let change = watch.scan();
    assert_eq!(registered(&change), ["one"]);
    assert_eq!(change.registrations[0].dag.tasks[0].retries, 4);
    write(".airflowignore", "a\\.yaml\n");
    assert_eq!(removed(&watch.scan()), ["one"]);
    std::fs::remove_file(folder.path().join(".airflowignore")).unwrap();
    assert_eq!(registered(&watch.scan()), ["one"]);
}

#[test]
fn a_dag_moves_to_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", &dag("one", 1));
    write("b.yaml", &dag("one", 1));
    let mut watch = watch(folder.path());
    let change = watch.scan();
    assert_eq!(registered(&change), ["one"]);
    assert!(change.import_errors[0].0.ends_with("b.yaml"));
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    let change = watch.scan();
    assert_eq!(registered(&change), ["one"]);
    assert!(change.registrations[0].dag.fileloc.ends_with("b.yaml"));
    assert_eq!(removed(&change), Vec::<&str>::new());
    assert_eq!(change.import_errors.len(), 1);
}

#[test]
fn a_file_is_read_again_when_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, dag("one", 1)).unwrap();
    // Long ago, so that the time alone says that nothing has changed.
    let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let date = |path: &Path| std::fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
    date(&path);
    let mut watch = watch(folder.path());
    watch.scan();
    std::fs::write(&path, dag("one", 2)).unwrap();
    date(&path);
    assert!(watch.scan().is_empty(), "neither time nor size tell");
    let name = path.to_str().unwrap();
    assert!(watch.watches(name) && !watch.watches("/none.yaml"));
    watch.read_again(name);
    watch.read_again("/none.yaml");
    assert_eq!(registered(&watch.scan()), ["one"]);
    watch.read_again(name);
    assert!(watch.scan().is_empty(), "nothing has changed");
}
