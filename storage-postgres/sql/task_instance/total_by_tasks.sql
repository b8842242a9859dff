-- Each run has one instance of each task of its version.
SELECT COALESCE(sum(r.runs * size.n), 0)::bigint
FROM (
    SELECT r.dag_version, count(*) AS runs
    FROM updraft.dag_run r
    WHERE /* runs */
    GROUP BY r.dag_version
) AS r
CROSS JOIN LATERAL (SELECT /* size */ AS n) AS size
