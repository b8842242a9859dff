-- Instances that are queued, running or restarting have a live attempt.
SELECT count(*)
FROM updraft.attempt a
CROSS JOIN LATERAL (
    SELECT i.run, i.task, i.map_index, i.state, i.is_branched_off, i.start_date, i.end_date, i.updated_at
    FROM updraft.task_instance_now i
    WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
    -- By its key each, however unequal runs are.
    OFFSET 0
) AS i
JOIN updraft.dag_run r ON r.id = a.run
JOIN updraft.task t ON t.version = r.dag_version AND t.ix = a.task
WHERE /* runs */
    AND /* tasks */
    AND /* values */
