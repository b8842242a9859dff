-- The event log outlives runs: its entries take the names over.
UPDATE updraft.event_log e
SET dag_id = d.dag_id, run_id = r.run_id, logical_date = r.logical_date, task_id = t.task_id, owner = t.owner,
    run = NULL, task = NULL
FROM unnest($1::bigint[]) AS k (run)
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.id = k.run OFFSET 0) r
JOIN updraft.dag d ON d.id = r.dag
CROSS JOIN LATERAL (SELECT o.ctid AS place, o.task AS ix FROM updraft.event_log o WHERE o.run = r.id OFFSET 0) o
CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = o.ix OFFSET 0) t
WHERE e.ctid = o.place
