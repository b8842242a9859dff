i.run = part.run
    AND ($4::smallint[] IS NULL OR COALESCE((
        SELECT 2 + a.phase FROM updraft.attempt a
        WHERE a.run = i.run AND a.task = i.task AND a.map_index = i.map_index AND NOT a.is_obsolete
    ), i.state) = ANY ($4))
    AND (
        $5::text[] IS NULL AND $6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL
        OR i.task = ANY (ARRAY(
            SELECT t.ix
            FROM updraft.dag_run r
            CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version OFFSET 0) AS t
            WHERE r.id = part.run
                AND ($5::text[] IS NULL OR t.task_id = ANY ($5))
                AND ($6::text[] IS NULL OR t.pool = ANY ($6))
                AND ($7::text[] IS NULL OR t.queue = ANY ($7))
                AND ($8::text[] IS NULL OR t.executor = ANY ($8))
        ))
    )
