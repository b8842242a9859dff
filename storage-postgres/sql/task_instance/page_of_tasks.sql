-- As `page`, but of some tasks: by key, so that nothing is read of the others.
SELECT /* instance */
FROM (
    SELECT i.run, i.task, i.map_index
    FROM updraft.dag_run r
    JOIN updraft.task t ON t.version = r.dag_version
    CROSS JOIN LATERAL (
        SELECT i.run, i.task, i.map_index, i.state, i.is_branched_off, i.start_date, i.end_date, i.updated_at
        FROM updraft.task_instance_now i
        WHERE i.run = r.id AND i.task = t.ix
        -- By its key each, however unequal runs are.
        OFFSET 0
    ) AS i
    WHERE /* runs */
        AND ($10::smallint[] IS NULL OR r.counts IS NULL OR 0 < /* ended */)
        AND /* tasks */
        AND /* values */
    ORDER BY r.id /* down */, t.ix /* down */, i.map_index /* down */
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
