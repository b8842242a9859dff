-- By key each, whatever is known of the tables when this is planned.
SELECT /* run */
FROM updraft.dag d
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
WHERE d.namespace = '' AND d.dag_id = $1
