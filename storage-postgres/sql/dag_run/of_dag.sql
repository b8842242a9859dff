-- As `page`, of one DAG, which is named, with the total: one row at least, if there is the DAG. It goes by an index whatever
-- is asked for, so that it is planned once.
SELECT /* run */, whole.total
FROM (SELECT d.id, d.dag_id FROM updraft.dag d WHERE d.namespace = '' AND d.dag_id = $1) AS d
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN $2::text[] IS NULL AND $3::timestamptz IS NULL AND $4::timestamptz IS NULL AND /* all run values */
            THEN (SELECT count(*) FROM updraft.dag_run r WHERE r.dag = d.id)
        ELSE (SELECT count(*) FROM updraft.dag_run r WHERE r.dag = d.id AND /* date and id */ AND /* run values */)
    END AS total
    -- Worked out once.
    OFFSET 0
) AS whole
LEFT JOIN LATERAL (
    SELECT r.*
    FROM updraft.dag_run r
    WHERE r.dag = d.id AND /* date and id */ AND /* run values */
    ORDER BY /* order */
    LIMIT $5 OFFSET $14
) AS r ON true
ORDER BY /* order */
