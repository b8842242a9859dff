-- Instances that are queued, running or restarting have a live attempt: what is found is read once for the page and the total.
-- One row at least; the first row of each run has what is known of the run.
WITH found AS MATERIALIZED (
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
)
SELECT r.*, /* instance */, whole.total
FROM (SELECT count(*) AS total FROM found) AS whole
LEFT JOIN (
    SELECT k.*, row_number() OVER (PARTITION BY k.run ORDER BY k.task, k.map_index) AS place
    FROM (SELECT * FROM found ORDER BY run, task, map_index LIMIT $20 OFFSET $21) AS k
) AS k ON true
LEFT JOIN LATERAL (
    SELECT /* run */ FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag WHERE r.id = k.run AND k.place = 1 OFFSET 0
) AS r ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    OFFSET 0
) AS i ON true
ORDER BY k.run, k.task, k.map_index
