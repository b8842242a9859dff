SELECT k.task_id, x.run, x.task, x.map_index, x.key, x.value, x."timestamp"
FROM (
    SELECT d.dag_id, t.task_id, r.run_id, x.map_index, x.key, x.run, x.task
    FROM updraft.dag_run r
    JOIN updraft.xcom x ON x.run = r.id
    JOIN updraft.dag d ON d.id = r.dag
    JOIN updraft.task t ON t.version = r.dag_version AND t.ix = x.task
    WHERE ($1::int IS NULL OR r.dag = $1)
        AND ($2::int[] IS NULL OR r.dag = ANY ($2))
        AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
        AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
        AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
        AND ($6::text[] IS NULL OR t.task_id = ANY ($6))
        AND ($7::int IS NULL OR x.map_index = $7)
        AND ($8::text IS NULL OR x.key = $8)
    ORDER BY d.dag_id, t.task_id, r.run_id, x.map_index, x.key
    LIMIT $9 OFFSET $10
) AS k
JOIN updraft.xcom x ON x.run = k.run AND x.task = k.task AND x.map_index = k.map_index AND x.key = k.key
ORDER BY k.dag_id, k.task_id, k.run_id, k.map_index, k.key
