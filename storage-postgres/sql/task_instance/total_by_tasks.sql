-- Each run has one instance of each task of its version.
SELECT COALESCE(sum(v.runs * size.n), 0)::bigint
FROM (
    SELECT r.dag_version, count(*) AS runs
    FROM updraft.dag_run r
    WHERE ($1::int IS NULL OR r.dag = $1)
        AND ($2::int[] IS NULL OR r.dag = ANY ($2))
        AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
        AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
        AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
    GROUP BY r.dag_version
) AS v
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN $6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL AND $9::text[] IS NULL
            THEN (SELECT COALESCE(max(t.ix) + 1, 0) FROM updraft.task t WHERE t.version = v.dag_version)
        ELSE (
            SELECT count(*) FROM updraft.task t
            WHERE t.version = v.dag_version
                AND ($6::text[] IS NULL OR t.task_id = ANY ($6))
                AND ($7::text[] IS NULL OR t.pool = ANY ($7))
                AND ($8::text[] IS NULL OR t.queue = ANY ($8))
                AND ($9::text[] IS NULL OR t.executor = ANY ($9))
        )
    END AS n
) AS size
