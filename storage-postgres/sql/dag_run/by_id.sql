SELECT /* run */
FROM updraft.dag d
JOIN updraft.dag_run r ON r.dag = d.id AND r.run_id = $2
WHERE d.namespace = '' AND d.dag_id = $1
