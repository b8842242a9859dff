-- What is stored, and what live attempts make different of it.
SELECT (
    SELECT count(*) FROM updraft.task_instance i
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
) + (
    SELECT count(*)
    FROM updraft.attempt a
    CROSS JOIN LATERAL (
        SELECT i.map_index, i.state, i.is_branched_off, i.start_date, i.end_date, i.updated_at
        FROM updraft.task_instance_now i
        WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
        OFFSET 0
    ) AS i
    JOIN updraft.dag_run r ON r.id = a.run
    WHERE /* runs */ AND /* values */
) - (
    SELECT count(*)
    FROM updraft.attempt a
    CROSS JOIN LATERAL (
        SELECT i.map_index, i.state, i.is_branched_off, i.start_date, i.end_date, i.updated_at
        FROM updraft.task_instance i
        WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
        OFFSET 0
    ) AS i
    JOIN updraft.dag_run r ON r.id = a.run
    WHERE /* runs */ AND /* values */
)
