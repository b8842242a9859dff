DELETE FROM updraft.dataset_queue q
USING updraft.dag, updraft.dataset d
WHERE dag.id = q.dag AND d.id = q.dataset AND dag.namespace = ''
  AND ($1::text IS NULL OR dag.dag_id = $1)
  AND ($2::text IS NULL OR d.uri = $2)
  AND ($3::timestamptz IS NULL OR q.created_at < $3)
  AND ($4::text[] IS NULL OR dag.dag_id = ANY ($4))
