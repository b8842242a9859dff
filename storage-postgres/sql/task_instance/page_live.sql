-- Instances that are queued, running or restarting have a live attempt.
SELECT /* instance */
FROM (
    SELECT i.run, i.task, i.map_index
    FROM updraft.attempt a
    CROSS JOIN LATERAL (
        SELECT i.run, i.task, i.map_index, i.state, i.is_branched_off, i.start_date, i.end_date, i.updated_at
        FROM updraft.task_instance_now i
        WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
        -- By its key each, however unequal runs are.
        OFFSET 0
    ) AS i
    CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.id = a.run OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = a.task OFFSET 0) AS t
    WHERE /* runs */
        AND /* tasks */
        AND /* values */
    ORDER BY i.run /* down */, i.task /* down */, i.map_index /* down */
    LIMIT $20 OFFSET $21
) AS k
CROSS JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    -- By its key each, however unequal runs are.
    OFFSET 0
) AS i
ORDER BY k.run, k.task, k.map_index
