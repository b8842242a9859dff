-- The runs that have a part of the page; no more runs are walked than the page ends at.
SELECT run, n, before
FROM (
    SELECT run, n, (sum(n) OVER (ORDER BY run ROWS UNBOUNDED PRECEDING) - n)::bigint AS before
    FROM (
        SELECT r.id AS run, size.n::bigint AS n
        FROM updraft.dag_run r
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN $6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL AND $9::text[] IS NULL
                    THEN (SELECT COALESCE(max(t.ix) + 1, 0) FROM updraft.task t WHERE t.version = r.dag_version)
                ELSE (
                    SELECT count(*) FROM updraft.task t
                    WHERE t.version = r.dag_version
                        AND ($6::text[] IS NULL OR t.task_id = ANY ($6))
                        AND ($7::text[] IS NULL OR t.pool = ANY ($7))
                        AND ($8::text[] IS NULL OR t.queue = ANY ($8))
                        AND ($9::text[] IS NULL OR t.executor = ANY ($9))
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
        LIMIT $10
    ) AS walked
) AS placed
WHERE before + n > $11 AND before < $10
ORDER BY run
