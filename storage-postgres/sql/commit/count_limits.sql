-- What live attempts and running runs hold, counted once the limits are locked: by DAG, by task of a DAG, by pool.
SELECT d.dag, NULL::text AS task_id, NULL::text AS pool,
    (SELECT count(*) FROM updraft.attempt a WHERE a.dag = d.dag) AS held,
    CASE WHEN $5 THEN (SELECT count(*) FROM updraft.dag_run r
        WHERE r.dag = d.dag AND (r.state = 1 OR (r.state = 0 AND r.owner IS NOT NULL)) AND r.state = 1) END AS running
FROM unnest($1::int[]) AS d (dag)
UNION ALL
SELECT t.dag, t.task_id, NULL,
    (SELECT count(*) FROM updraft.attempt a WHERE a.dag = t.dag AND a.task_id = t.task_id), NULL
FROM unnest($2::int[], $3::text[]) AS t (dag, task_id)
UNION ALL
SELECT NULL, NULL, p.pool, (SELECT coalesce(sum(a.pool_slots), 0)::bigint FROM updraft.attempt a WHERE a.pool = p.pool), NULL
FROM unnest($4::text[]) AS p (pool)
