-- How many runs DAGs have in each state; one row without a state for those that have none.
SELECT d.dag_id, r.state, r.runs
FROM updraft.dag d
LEFT JOIN LATERAL (SELECT state, count(*) AS runs FROM updraft.dag_run WHERE dag = d.id GROUP BY state) r ON true
WHERE d.namespace = '' AND d.dag_id = ANY ($1)
