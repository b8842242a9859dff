SELECT /* instance */
FROM (
    SELECT i.run, i.task, i.map_index
    FROM updraft.task_instance_now i
    WHERE (
        /* all runs */
        -- The runs first, if they are chosen; those that have ended only if they have instances in the states.
        OR i.run = ANY (ARRAY(
            SELECT r.id FROM updraft.dag_run r
            WHERE /* runs */ AND ($10::smallint[] IS NULL OR r.counts IS NULL OR 0 < /* ended */)
        ))
    )
        AND /* all tasks */
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
