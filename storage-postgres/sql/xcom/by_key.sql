-- The run, the task and the XCom.
SELECT /* run */, t.task_id, x.run, x.task, x.map_index, x.key, x.value, x."timestamp"
FROM updraft.dag d
JOIN updraft.dag_run r ON r.dag = d.id AND r.run_id = $2
JOIN updraft.task t ON t.version = r.dag_version AND t.task_id = $3
JOIN updraft.xcom x ON x.run = r.id AND x.task = t.ix AND x.map_index = $4 AND x.key = $5
WHERE d.namespace = '' AND d.dag_id = $1
