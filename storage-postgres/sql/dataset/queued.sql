SELECT dag.dag_id, d.uri, q.created_at
FROM updraft.dataset_queue q
JOIN updraft.dag ON dag.id = q.dag
JOIN updraft.dataset d ON d.id = q.dataset
WHERE dag.namespace = ''
  AND ($1::text IS NULL OR dag.dag_id = $1)
  AND ($2::text IS NULL OR d.uri = $2)
  AND ($3::timestamptz IS NULL OR q.created_at < $3)
  AND ($4::text[] IS NULL OR dag.dag_id = ANY ($4))
ORDER BY dag.dag_id, d.uri
