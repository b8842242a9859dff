-- The runs before these runs, and what became of tasks in them: a row for each task that is asked for, in the order given.
SELECT q.place, p.id, p.logical_date, coalesce(i.instances, 0), coalesce(i.unsuccessful, 0),
    CASE WHEN coalesce(i.instances, 0) = 0 THEN EXISTS (
        SELECT 1 FROM updraft.dag_run e JOIN updraft.task o ON o.version = e.dag_version AND o.task_id = k.task_id
        WHERE e.dag = r.dag AND e.logical_date < r.logical_date
    ) ELSE true END
FROM unnest($1::bigint[], $2::boolean[]) WITH ORDINALITY AS q (run, skips_manual, place)
CROSS JOIN LATERAL (SELECT o.dag, o.logical_date FROM updraft.dag_run o WHERE o.id = q.run OFFSET 0) r
CROSS JOIN LATERAL (
    (
        SELECT a.id, a.logical_date, a.dag_version FROM updraft.dag_run a
        WHERE q.skips_manual AND a.run_type <> 2 AND a.dag = r.dag AND a.logical_date < r.logical_date
        ORDER BY a.logical_date DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT a.id, a.logical_date, a.dag_version FROM updraft.dag_run a
        WHERE NOT q.skips_manual AND a.dag = r.dag AND a.logical_date < r.logical_date
        ORDER BY a.logical_date DESC LIMIT 1
    )
) p
CROSS JOIN LATERAL (
    SELECT * FROM unnest($3::bigint[], $4::text[]) WITH ORDINALITY AS o (query, task_id, place) WHERE o.query = q.place
) k
LEFT JOIN LATERAL (
    SELECT t.ix FROM updraft.task t WHERE t.version = p.dag_version AND t.task_id = k.task_id OFFSET 0
) t ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS instances, count(*) FILTER (WHERE n.state NOT IN (4, 10)) AS unsuccessful
    FROM updraft.task_instance_now n WHERE n.run = p.id AND n.task = t.ix
) i ON true
ORDER BY q.place, k.place
