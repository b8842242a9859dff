-- As `list`, of one DAG in the order of ids, with the total: one row at least. What is found is read once for both. It goes by
-- indexes whatever is asked for, so that it is planned once. Entries have a run or names, never both.
WITH found AS MATERIALIZED (
    SELECT e.id
    FROM updraft.dag d
    CROSS JOIN LATERAL (SELECT r.id, r.run_id, r.dag_version FROM updraft.dag_run r WHERE r.dag = d.id OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT * FROM updraft.event_log e WHERE e.run = r.id OFFSET 0) AS e
    WHERE d.namespace = '' AND d.dag_id = $1
        AND ($2::text IS NULL OR r.run_id = $2)
        AND ($3::text IS NULL OR $3 = (SELECT t.task_id FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = e.task))
        AND ($7::text IS NULL OR $7 = COALESCE(
            e.owner, (SELECT t.owner FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = e.task)
        ))
        AND /* events of dag */
    UNION ALL
    SELECT e.id
    FROM updraft.event_log e
    WHERE e.dag_id = $1 AND e.run IS NULL
        AND ($2::text IS NULL OR e.run_id = $2)
        AND ($3::text IS NULL OR e.task_id = $3)
        AND ($7::text IS NULL OR e.owner = $7)
        AND /* events of dag */
)
SELECT /* event */, whole.total
FROM (SELECT count(*) AS total FROM found) AS whole
LEFT JOIN (SELECT id FROM found ORDER BY id /* down */ LIMIT $13 OFFSET $14) AS page ON true
LEFT JOIN LATERAL (SELECT * FROM updraft.event_log e WHERE e.id = page.id OFFSET 0) AS e ON true
LEFT JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.id = e.run OFFSET 0) AS r ON true
LEFT JOIN updraft.dag d ON d.id = r.dag
LEFT JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = e.task OFFSET 0) AS t ON true
ORDER BY page.id /* down */
