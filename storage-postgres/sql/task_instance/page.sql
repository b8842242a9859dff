-- Runs that have ended are opened only if they have instances in the states.
SELECT
    i.run, i.task, i.map_index, i.state, i.is_branched_off, i.try_number, i.max_tries, i.queued_when, i.start_date, i.end_date,
    i.due_at, i.hostname, i.unixname, i.pid, i.note, i.note_user, i.rendered_fields
FROM (
    SELECT i.run, i.task, i.map_index
    FROM updraft.dag_run r
    JOIN updraft.task_instance_now i ON i.run = r.id
    WHERE ($1::int IS NULL OR r.dag = $1)
        AND ($2::int[] IS NULL OR r.dag = ANY ($2))
        AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
        AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
        AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
        AND ($7::smallint[] IS NULL OR r.counts IS NULL OR 0 <
            CASE WHEN 0 = ANY ($7::smallint[]) THEN r.counts[1] ELSE 0 END
            + CASE WHEN 1 = ANY ($7::smallint[]) THEN r.counts[2] ELSE 0 END
            + CASE WHEN 2 = ANY ($7::smallint[]) THEN r.counts[3] ELSE 0 END
            + CASE WHEN 3 = ANY ($7::smallint[]) THEN r.counts[4] ELSE 0 END
            + CASE WHEN 4 = ANY ($7::smallint[]) THEN r.counts[5] ELSE 0 END
            + CASE WHEN 5 = ANY ($7::smallint[]) THEN r.counts[6] ELSE 0 END
            + CASE WHEN 6 = ANY ($7::smallint[]) THEN r.counts[7] ELSE 0 END
            + CASE WHEN 7 = ANY ($7::smallint[]) THEN r.counts[8] ELSE 0 END
            + CASE WHEN 8 = ANY ($7::smallint[]) THEN r.counts[9] ELSE 0 END
            + CASE WHEN 9 = ANY ($7::smallint[]) THEN r.counts[10] ELSE 0 END
            + CASE WHEN 10 = ANY ($7::smallint[]) THEN r.counts[11] ELSE 0 END
            + CASE WHEN 11 = ANY ($7::smallint[]) THEN r.counts[12] ELSE 0 END
            + CASE WHEN 12 = ANY ($7::smallint[]) THEN r.counts[13] ELSE 0 END)
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
    ORDER BY i.run, i.task, i.map_index
    LIMIT $16 OFFSET $17
) AS k
CROSS JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    -- By its key each, however unequal runs are.
    OFFSET 0
) AS i
ORDER BY k.run, k.task, k.map_index
