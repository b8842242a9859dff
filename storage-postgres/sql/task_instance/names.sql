-- What an instance is called, and whether it exists; the run stays until the end of the transaction.
SELECT d.dag_id, r.run_id, t.task_id, i.run IS NOT NULL AS exists
FROM updraft.dag_run r
JOIN updraft.dag d ON d.id = r.dag
LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = $2
LEFT JOIN updraft.task_instance i ON i.run = r.id AND i.task = $2 AND i.map_index = $3
WHERE r.id = $1
FOR KEY SHARE OF r
