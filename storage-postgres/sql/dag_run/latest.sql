-- One probe of the index a DAG, however many runs it has.
SELECT /* run */
FROM updraft.dag d
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run o WHERE o.dag = d.id ORDER BY o.logical_date DESC LIMIT 1) r
WHERE d.namespace = '' AND ($1::text[] IS NULL OR d.dag_id = ANY ($1))
ORDER BY d.dag_id
