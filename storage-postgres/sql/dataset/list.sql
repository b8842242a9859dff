WITH found AS (
    SELECT *, row_number() OVER (ORDER BY /* order */ id) AS place
    FROM updraft.dataset d
    -- Letters fold as the database's locale has it.
    WHERE ($1::text IS NULL OR uri COLLATE "default" ILIKE $1)
      AND ($2::text[] IS NULL OR id IN (
          SELECT c.dataset FROM updraft.dag JOIN updraft.dataset_consumer c ON c.dag = dag.id
          WHERE dag.namespace = '' AND dag.dag_id = ANY ($2)
          UNION ALL
          SELECT p.dataset FROM updraft.dag JOIN updraft.dataset_producer p ON p.dag = dag.id
          WHERE dag.namespace = '' AND dag.dag_id = ANY ($2)
      ))
)
SELECT all_of.total, page.id, page.uri, page.extra, page.created_at, page.updated_at
FROM (SELECT count(*) AS total FROM found) all_of
LEFT JOIN (SELECT * FROM found ORDER BY place LIMIT $3 OFFSET $4) page ON true
ORDER BY page.place
