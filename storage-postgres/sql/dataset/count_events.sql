SELECT count(*) FROM updraft.dataset_event
WHERE ($1::bigint IS NULL OR dataset = $1)
  AND ($2::text IS NULL OR source_dag_id = $2)
  AND ($3::text IS NULL OR source_task_id = $3)
  AND ($4::text IS NULL OR source_run_id = $4)
  AND ($5::int IS NULL OR source_map_index = $5)
  AND ($6::bigint IS NULL OR id IN (SELECT r.event FROM updraft.dag_run_dataset_event r WHERE r.run = $6))
