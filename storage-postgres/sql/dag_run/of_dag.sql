-- As `page`, of one DAG, which is named, with the total: one row at least, if there is the DAG. It goes by an index whatever
-- is asked for, so that it is planned once.
SELECT /* run */, whole.total
FROM (SELECT d.id, d.dag_id FROM updraft.dag d WHERE d.namespace = '' AND d.dag_id = $1) AS d
CROSS JOIN LATERAL (
    SELECT count(*) AS total FROM updraft.dag_run r WHERE r.dag = d.id AND /* of dag */
    -- Worked out once.
    OFFSET 0
) AS whole
LEFT JOIN LATERAL (
    SELECT r.*
    FROM updraft.dag_run r
    WHERE r.dag = d.id AND /* of dag */
    ORDER BY /* order */
    LIMIT $5 OFFSET $14
) AS r ON true
ORDER BY /* order */
