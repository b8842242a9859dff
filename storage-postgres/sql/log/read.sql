-- From the piece that holds the byte $6, or the last one, to the one that holds the byte $7; no row if there is no log. By key
-- each, whatever is known of the tables when this is planned.
SELECT l."offset", l.content
FROM updraft.dag d
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.task_id = $3 OFFSET 0) AS t
CROSS JOIN LATERAL (
    SELECT l."offset", l.content
    FROM updraft.log_chunk l
    WHERE l.run = r.id AND l.task = t.ix AND l.map_index = $4 AND l.try_number = $5 AND l."offset" <= $7 AND l."offset" >= (
        SELECT f."offset" FROM updraft.log_chunk f
        WHERE f.run = r.id AND f.task = t.ix AND f.map_index = $4 AND f.try_number = $5 AND f."offset" <= $6
        ORDER BY f."offset" DESC LIMIT 1
    )
    OFFSET 0
) AS l
WHERE d.namespace = '' AND d.dag_id = $1
ORDER BY l."offset"
