//! Import errors.

use super::world::{World, assert_err, at};
use super::{Trial, naive};
use crate::model::ImportError;
use crate::storage::{ImportErrorOrder, OrderBy, PageRequest, StorageError};

/// A file has one import error at most; it keeps its id for as long as there is one.
pub async fn a_file_has_one_import_error(trial: &dyn Trial) {
    let world = World::new(trial);
    let set = |time, text| world.storage.set_import_error(at(time), "/f", text);
    let all = || async { world.storage.import_errors(None, PageRequest::ALL).await.unwrap().items };
    set(1, None).await.unwrap();
    assert!(all().await.is_empty());
    set(1, Some("one")).await.unwrap();
    let first = all().await.remove(0);
    assert_eq!((first.timestamp, &*first.filename, &*first.stack_trace), (at(1), "/f", "one"));
    assert_eq!(world.storage.import_error(first.id).await.unwrap(), first);
    set(2, Some("two")).await.unwrap();
    let expected = ImportError { timestamp: at(2), stack_trace: "two".into(), ..first.clone() };
    assert_eq!(all().await, [expected]);
    set(3, None).await.unwrap();
    assert_err!(world.storage.import_error(first.id).await, StorageError::NotFound(_));
    set(4, Some("one")).await.unwrap();
    assert!(all().await[0].id > first.id);
}

/// Each order and page of import errors is what a naive sort gives.
pub async fn import_error_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    for (index, file) in ["z", "b", "y", "a", "x", "c"].into_iter().enumerate() {
        let time = at(i64::try_from(index % 3).unwrap());
        world.storage.set_import_error(time, file, Some(&format!("text {}", index % 2))).await.unwrap();
    }
    let all = world.storage.import_errors(None, PageRequest::ALL).await.unwrap().items;
    assert!(all.len() == 6 && all.is_sorted_by_key(|error| error.id), "in the order of writing, unless told otherwise");
    let orders: Vec<(ImportErrorOrder, naive::Compare<ImportError>)> = vec![
        (ImportErrorOrder::Id, naive::by(|error: &ImportError| error.id)),
        (ImportErrorOrder::Timestamp, naive::by(|error: &ImportError| error.timestamp)),
        (ImportErrorOrder::Filename, naive::by(|error: &ImportError| error.filename.clone())),
        (ImportErrorOrder::StackTrace, naive::by(|error: &ImportError| error.stack_trace.clone())),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let got = world.storage.import_errors(Some(OrderBy { field, descending }), page).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}
