-- The runs that have a part of the page; only these are opened, and those that have not ended.
SELECT run, n, before
FROM (
    SELECT run, n, (sum(n) OVER (ORDER BY run /* down */ ROWS UNBOUNDED PRECEDING) - n)::bigint AS before
    FROM (
        SELECT r.id AS run, size.n::bigint AS n
        FROM updraft.dag_run r
        -- Worked out once for each run.
        CROSS JOIN LATERAL (SELECT /* in states */ AS n OFFSET 0) AS size
        WHERE /* runs */ AND /* all tasks */ AND size.n > 0
        ORDER BY r.id /* down */
        LIMIT $11
    ) AS walked
) AS placed
WHERE before + n > $12 AND before < $11
ORDER BY run
