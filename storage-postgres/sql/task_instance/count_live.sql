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
WHERE ($1::int IS NULL OR r.dag = $1)
    AND ($2::int[] IS NULL OR r.dag = ANY ($2))
    AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
    AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
    AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
    AND ($6::int[] IS NULL OR i.map_index = ANY ($6))
    AND ($7::smallint[] IS NULL OR i.state = ANY ($7))
    AND ($8::timestamptz IS NULL OR i.start_date >= $8)
    AND ($9::timestamptz IS NULL OR i.start_date <= $9)
    AND ($10::timestamptz IS NULL OR i.end_date >= $10)
    AND ($11::timestamptz IS NULL OR i.end_date <= $11)
    AND ($12::timestamptz IS NULL OR i.updated_at >= $12)
    AND ($13::timestamptz IS NULL OR i.updated_at <= $13)
    AND (
        ($14::float8 IS NULL AND $15::float8 IS NULL)
        OR CASE WHEN NOT i.is_branched_off THEN extract(epoch FROM i.end_date - i.start_date)::float8 END
            BETWEEN COALESCE($14, '-infinity') AND COALESCE($15, 'infinity')
    )
    AND ($16::text[] IS NULL OR t.task_id = ANY ($16))
    AND ($17::text[] IS NULL OR t.pool = ANY ($17))
    AND ($18::text[] IS NULL OR t.queue = ANY ($18))
    AND ($19::text[] IS NULL OR t.executor = ANY ($19))
