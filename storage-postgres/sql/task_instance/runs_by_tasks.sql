-- The runs that have a part of the page; no more runs are walked than the page ends at.
SELECT run, n, before
FROM (
    SELECT run, n, (sum(n) OVER (ORDER BY run /* down */ ROWS UNBOUNDED PRECEDING) - n)::bigint AS before
    FROM (
        SELECT r.id AS run, size.n::bigint AS n
        FROM updraft.dag_run r
        -- Worked out once for each run.
        CROSS JOIN LATERAL (SELECT /* size */ AS n OFFSET 0) AS size
        WHERE /* runs */ AND size.n > 0
        ORDER BY r.id /* down */
        LIMIT $10
    ) AS walked
) AS placed
WHERE before + n > $11 AND before < $10
ORDER BY run
