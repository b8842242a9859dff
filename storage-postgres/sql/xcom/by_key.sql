-- The run, the task and the XCom: by key each, whatever is known of the tables when this is planned.
SELECT /* run */, t.task_id, x.run, x.task, x.map_index, x.key, x.value, x."timestamp"
FROM updraft.dag d
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.task_id = $3 OFFSET 0) AS t
CROSS JOIN LATERAL (
    SELECT * FROM updraft.xcom x WHERE x.run = r.id AND x.task = t.ix AND x.map_index = $4 AND x.key = $5 OFFSET 0
) AS x
WHERE d.namespace = '' AND d.dag_id = $1
