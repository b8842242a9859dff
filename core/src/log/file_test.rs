use super::*;

fn key(run_id: &str) -> LogKey {
    LogKey { dag_id: "etl".into(), run_id: run_id.into(), task_id: "g.load".into(), map_index: UNMAPPED, try_number: 2 }
}

async fn text(logs: &FileLogs, key: &LogKey) -> Option<String> {
    logs.read(key, 0, 1 << 20).await.unwrap().map(|chunk| String::from_utf8(chunk.bytes).unwrap())
}

#[tokio::test]
async fn what_was_appended_is_read_after_a_flush_and_gone_with_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FileLogs::new(folder.path().join("logs")).unwrap();
    let run = key("manual__2024-01-01T00:00:00+00:00");
    assert_eq!(text(&logs, &run).await, None);
    logs.append(&run, b"one\n");
    logs.append(&key("other"), b"other\n");
    logs.append(&run, b"two\n");
    logs.flush(&run).await.unwrap();
    assert_eq!(text(&logs, &run).await.as_deref(), Some("one\ntwo\n"));
    let file = "logs/dag_id=etl/run_id=manual__2024-01-01T00:00:00+00:00/task_id=g.load/attempt=2.log";
    assert!(folder.path().join(file).exists());

    logs.append(&run, b"three\n");
    logs.delete_run("etl", &run.run_id).await.unwrap();
    logs.delete_run("etl", "never existed").await.unwrap();
    assert_eq!(text(&logs, &run).await, None);
    assert_eq!(text(&logs, &key("other")).await.as_deref(), Some("other\n"));
}

#[tokio::test]
async fn pieces_are_whole_lines_and_join_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FileLogs::new(folder.path()).unwrap();
    let key = key("r");
    let whole = format!("short\n{}\nüüü\n", "ü".repeat(40));
    logs.append(&key, whole.as_bytes());
    logs.flush(&key).await.unwrap();
    let (mut offset, mut joined, mut first) = (0, String::new(), None);
    loop {
        let chunk = logs.read(&key, offset, 15).await.unwrap().unwrap();
        if chunk.bytes.is_empty() {
            break;
        }
        offset = chunk.next_offset;
        let piece = String::from_utf8(chunk.bytes).unwrap();
        first.get_or_insert_with(|| piece.clone());
        joined.push_str(&piece);
    }
    assert_eq!((first.as_deref(), joined), (Some("short\n"), whole));
    assert_eq!(logs.read(&key, 1 << 40, 15).await.unwrap().unwrap().bytes, b"");
}

#[tokio::test]
async fn no_id_leaves_the_root_or_meets_another() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("logs");
    let logs = FileLogs::new(&root).unwrap();
    let long = "x".repeat(250) + "/";
    let ids =
        ["..", "../..", "/etc/passwd", "a/b", "a%2Fb", "nul\0", "back\\slash", "", " ", "ünïcode", &long, &long[..250]];
    for id in ids {
        logs.append(&key(id), id.as_bytes());
    }
    logs.flush(&key("")).await.unwrap();
    for id in ids {
        assert_eq!(text(&logs, &key(id)).await.as_deref(), Some(id));
    }
    let outside = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(outside, 1);
    assert_eq!(std::fs::read_dir(root.join("dag_id=etl")).unwrap().count(), ids.len());
}

#[cfg(unix)]
#[tokio::test]
async fn others_cannot_read_the_folder_and_a_full_disk_is_no_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/logs");
    let logs = FileLogs::new(&root).unwrap();
    assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // A file where a folder should be.
    std::fs::write(root.join("dag_id=etl"), "").unwrap();
    logs.append(&key("r"), b"lost");
    logs.flush(&key("r")).await.unwrap();
    std::fs::remove_file(root.join("dag_id=etl")).unwrap();
    logs.append(&key("r"), b"kept");
    logs.flush(&key("r")).await.unwrap();
    assert_eq!(text(&logs, &key("r")).await.as_deref(), Some("kept"));
}
