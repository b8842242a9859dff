CASE WHEN r.counts IS NOT NULL THEN /* ended */ ELSE (
    SELECT count(*) FROM updraft.task_instance i WHERE i.run = r.id AND i.state = ANY ($10)
) + (
    -- What live attempts make different.
    SELECT COALESCE(sum((2 + a.phase = ANY ($10))::int - (own.state = ANY ($10))::int), 0)
    FROM updraft.attempt a
    CROSS JOIN LATERAL (
        SELECT i.state
        FROM updraft.task_instance i
        WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
        OFFSET 0
    ) AS own
    WHERE a.run = r.id AND NOT a.is_obsolete
) END
