-- Deletes the oldest of those from before $1, at most $2 of them; how many.
WITH old AS MATERIALIZED (
    SELECT id FROM updraft.dataset_event WHERE "timestamp" < $1 ORDER BY "timestamp", id LIMIT $2 FOR UPDATE SKIP LOCKED
), links AS (
    DELETE FROM updraft.dag_run_dataset_event WHERE event IN (SELECT id FROM old)
)
DELETE FROM updraft.dataset_event WHERE id IN (SELECT id FROM old)
