//! Requests to read files of DAGs again.

use super::Trial;
use super::world::{World, at};

/// A file waits once, in the order of asking, until somebody takes it; whoever comes later takes nothing.
pub async fn a_parsing_request_is_taken_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let storage = &world.storage;
    assert!(storage.parsing_requests().await.unwrap().is_empty());
    let long = format!("/dags/{}.yaml", "x".repeat(4000));
    assert!(storage.request_parsing(at(0), "/dags/b.yaml").await.unwrap());
    assert!(storage.request_parsing(at(1), "/dags/a.yaml").await.unwrap());
    assert!(storage.request_parsing(at(2), &long).await.unwrap());
    assert!(!storage.request_parsing(at(3), "/dags/b.yaml").await.unwrap(), "it waits already");
    assert_eq!(storage.parsing_requests().await.unwrap(), ["/dags/b.yaml", "/dags/a.yaml", &long]);

    let mine = ["/dags/b.yaml", "/dags/none.yaml", "/dags/a.yaml"].map(str::to_owned);
    let (one, other) = tokio::join!(storage.take_parsing_requests(&mine), storage.take_parsing_requests(&mine));
    let mut taken = [one.unwrap(), other.unwrap()].concat();
    taken.sort();
    assert_eq!(taken, ["/dags/a.yaml", "/dags/b.yaml"], "each is taken by one");
    assert_eq!(storage.parsing_requests().await.unwrap(), std::slice::from_ref(&long));
    assert!(storage.request_parsing(at(4), "/dags/b.yaml").await.unwrap(), "it may be asked for again");
    assert_eq!(storage.take_parsing_requests(std::slice::from_ref(&long)).await.unwrap(), [long]);
}
