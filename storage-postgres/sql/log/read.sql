-- From the piece that holds the byte $6, or the last one, to the one that holds the byte $7; no row if there is no log.
SELECT l."offset", l.content
FROM updraft.dag d
JOIN updraft.dag_run r ON r.dag = d.id AND r.run_id = $2
JOIN updraft.task t ON t.version = r.dag_version AND t.task_id = $3
JOIN updraft.log_chunk l ON l.run = r.id AND l.task = t.ix AND l.map_index = $4 AND l.try_number = $5
WHERE d.namespace = '' AND d.dag_id = $1 AND l."offset" <= $7 AND l."offset" >= (
    SELECT f."offset" FROM updraft.log_chunk f
    WHERE f.run = r.id AND f.task = t.ix AND f.map_index = $4 AND f.try_number = $5 AND f."offset" <= $6
    ORDER BY f."offset" DESC LIMIT 1
)
ORDER BY l."offset"
