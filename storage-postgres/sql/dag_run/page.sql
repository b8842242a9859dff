-- The page is chosen by what filters and orders need; then it is read wholly.
SELECT /* run */
FROM (
    SELECT r.id
    -- An outer join falls away where the order does not need it.
    FROM updraft.dag_run r LEFT JOIN updraft.dag d ON d.id = r.dag
    WHERE /* runs */
        AND /* run values */
    ORDER BY /* walk */
    LIMIT $14 OFFSET $15
) AS k
JOIN updraft.dag_run r ON r.id = k.id
JOIN updraft.dag d ON d.id = r.dag
ORDER BY /* order */
