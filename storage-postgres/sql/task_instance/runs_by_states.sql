-- The runs that have a part of the page; only these are opened, and those that have not ended.
SELECT run, n, before
FROM (
    SELECT run, n, (sum(n) OVER (ORDER BY run ROWS UNBOUNDED PRECEDING) - n)::bigint AS before
    FROM (
        SELECT r.id AS run, size.n::bigint AS n
        FROM updraft.dag_run r
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN r.counts IS NOT NULL THEN
                    CASE WHEN 0 = ANY ($6::smallint[]) THEN r.counts[1] ELSE 0 END
                    + CASE WHEN 1 = ANY ($6::smallint[]) THEN r.counts[2] ELSE 0 END
                    + CASE WHEN 2 = ANY ($6::smallint[]) THEN r.counts[3] ELSE 0 END
                    + CASE WHEN 3 = ANY ($6::smallint[]) THEN r.counts[4] ELSE 0 END
                    + CASE WHEN 4 = ANY ($6::smallint[]) THEN r.counts[5] ELSE 0 END
                    + CASE WHEN 5 = ANY ($6::smallint[]) THEN r.counts[6] ELSE 0 END
                    + CASE WHEN 6 = ANY ($6::smallint[]) THEN r.counts[7] ELSE 0 END
                    + CASE WHEN 7 = ANY ($6::smallint[]) THEN r.counts[8] ELSE 0 END
                    + CASE WHEN 8 = ANY ($6::smallint[]) THEN r.counts[9] ELSE 0 END
                    + CASE WHEN 9 = ANY ($6::smallint[]) THEN r.counts[10] ELSE 0 END
                    + CASE WHEN 10 = ANY ($6::smallint[]) THEN r.counts[11] ELSE 0 END
                    + CASE WHEN 11 = ANY ($6::smallint[]) THEN r.counts[12] ELSE 0 END
                    + CASE WHEN 12 = ANY ($6::smallint[]) THEN r.counts[13] ELSE 0 END
                ELSE (
                    SELECT count(*) FROM updraft.task_instance i WHERE i.run = r.id AND i.state = ANY ($6)
                ) + (
                    -- What live attempts make different.
                    SELECT COALESCE(sum((2 + a.phase = ANY ($6))::int - (own.state = ANY ($6))::int), 0)
                    FROM updraft.attempt a
                    CROSS JOIN LATERAL (
                        SELECT i.state
                        FROM updraft.task_instance i
                        WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index
                        OFFSET 0
                    ) AS own
                    WHERE a.run = r.id AND NOT a.is_obsolete
                )
            END AS n
            -- Worked out once for each run.
            OFFSET 0
        ) AS size
        WHERE ($1::int IS NULL OR r.dag = $1)
            AND ($2::int[] IS NULL OR r.dag = ANY ($2))
            AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
            AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
            AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
            AND size.n > 0
        ORDER BY r.id
        LIMIT $7
    ) AS walked
) AS placed
WHERE before + n > $8 AND before < $7
ORDER BY run
