-- By key each, whatever is known of the tables when this is planned.
SELECT /* event */
FROM updraft.event_log e
LEFT JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.id = e.run OFFSET 0) AS r ON true
LEFT JOIN updraft.dag d ON d.id = r.dag
LEFT JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.ix = e.task OFFSET 0) AS t ON true
WHERE e.id = $1
