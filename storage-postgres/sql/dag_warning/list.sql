-- Active DAGs with the pools that their tasks name and that do not exist.
WITH missing AS (
    SELECT d.id::bigint AS id, d.dag_id, d.last_parsed_time, array_agg(DISTINCT t.pool ORDER BY t.pool) AS pools
    FROM updraft.dag d JOIN updraft.task t ON t.version = d.newest_version
    WHERE d.namespace = '' AND d.is_active
      AND ($1::text IS NULL OR d.dag_id = $1)
      AND ($2::text[] IS NULL OR d.dag_id = ANY ($2))
      AND t.pool NOT IN (SELECT name FROM updraft.pool)
    GROUP BY d.id
), found AS (
    SELECT *, row_number() OVER (ORDER BY /* order */ last_parsed_time, dag_id) AS place FROM missing
)
SELECT all_of.total, page.*
FROM (SELECT count(*) AS total FROM found) all_of
LEFT JOIN (SELECT * FROM found ORDER BY place LIMIT $3 OFFSET $4) page ON true
ORDER BY page.place
