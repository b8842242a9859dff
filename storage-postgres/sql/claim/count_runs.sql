SELECT d.dag, count(r.id) FILTER (WHERE r.state = 1), count(r.id)
FROM unnest($1::int[]) AS d (dag)
LEFT JOIN updraft.dag_run r ON r.dag = d.dag AND (r.state = 1 OR (r.state = 0 AND r.owner IS NOT NULL))
GROUP BY d.dag
