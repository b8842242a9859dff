SELECT e.id, e.dataset, d.uri, e.extra, e.source_dag_id, e.source_task_id, e.source_run_id, e.source_map_index, e."timestamp"
FROM (
    SELECT * FROM updraft.dataset_event
    WHERE ($1::bigint IS NULL OR dataset = $1)
      AND ($2::text IS NULL OR source_dag_id = $2)
      AND ($3::text IS NULL OR source_task_id = $3)
      AND ($4::text IS NULL OR source_run_id = $4)
      AND ($5::int IS NULL OR source_map_index = $5)
      AND ($6::bigint IS NULL OR id IN (SELECT r.event FROM updraft.dag_run_dataset_event r WHERE r.run = $6))
    ORDER BY /* order */ "timestamp", id
    LIMIT $7 OFFSET $8
) e
JOIN updraft.dataset d ON d.id = e.dataset
ORDER BY /* order */ "timestamp", e.id
