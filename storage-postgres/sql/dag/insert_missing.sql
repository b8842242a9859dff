-- In the order of ids: two that register the same new DAGs wait for each other, and never in a circle.
INSERT INTO updraft.dag
    (dag_id, newest_version, is_paused, is_active, created_at, last_parsed_time, fileloc, owners, tags, max_active_runs, max_active_tasks)
SELECT new.dag_id, 0, new.is_paused, true, $3, $3, '', '', '{}', 0, 0
FROM unnest($1::text[], $2::boolean[]) AS new (dag_id, is_paused)
WHERE NOT EXISTS (SELECT FROM updraft.dag d WHERE d.namespace = '' AND d.dag_id = new.dag_id)
ORDER BY new.dag_id COLLATE "C"
ON CONFLICT (namespace, dag_id) DO NOTHING
