-- The event log outlives runs: its entries take the names over.
UPDATE updraft.event_log e
SET dag_id = d.dag_id, run_id = r.run_id, logical_date = r.logical_date, task_id = t.task_id, owner = t.owner,
    run = NULL, task = NULL
FROM updraft.dag_run r
JOIN updraft.dag d ON d.id = r.dag
JOIN updraft.task t ON t.version = r.dag_version
WHERE r.id = ANY ($1) AND e.run = r.id AND t.ix = e.task
