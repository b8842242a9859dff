-- Writes an update, and queues it for the DAGs that wait for it: its key, and how many wait that did not wait before. DAGs that
-- are being deleted are waited for, and then have no row.
WITH waiting AS MATERIALIZED (
    SELECT d.id
    FROM updraft.dataset_consumer c JOIN updraft.dag d ON d.id = c.dag
    WHERE c.dataset = $1 AND d.is_active AND NOT d.is_paused
    ORDER BY d.id FOR KEY SHARE OF d
), queued AS (
    INSERT INTO updraft.dataset_queue (dag, dataset, created_at)
    SELECT id, $1, $2 FROM waiting ORDER BY id ON CONFLICT (dag, dataset) DO NOTHING
    RETURNING 1
), written AS (
    INSERT INTO updraft.dataset_event
        (dataset, "timestamp", source_dag_id, source_task_id, source_run_id, source_map_index, extra)
    VALUES ($1, $2, $3, $4, $5, $6, $7::json)
    RETURNING id
)
SELECT id, (SELECT count(*) FROM queued) FROM written
