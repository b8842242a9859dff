WITH found AS (
    SELECT *, row_number() OVER (ORDER BY /* order */ dag_id) AS place
    FROM updraft.dag
    WHERE namespace = ''
      AND ($1::boolean IS NULL OR is_active = $1)
      AND ($2::boolean IS NULL OR is_paused = $2)
      AND ($3::text[] IS NULL OR tags && $3)
      -- Letters fold as the database's locale has it.
      AND ($4::text IS NULL OR dag_id COLLATE "default" ILIKE $4)
      AND ($5::text[] IS NULL OR dag_id = ANY ($5))
      AND ($6::text[] IS NULL OR dag_id = ANY ($6))
      AND ($7::text[] IS NULL OR fileloc = ANY ($7))
)
SELECT all_of.total, page.id::bigint AS id, page.newest_version, page.is_paused, page.is_active, page.last_parsed_time,
       page.last_expired,
       NOT page.is_active AND EXISTS (SELECT FROM updraft.import_error e WHERE e.filename = page.fileloc)
           AS has_import_errors
FROM (SELECT count(*) AS total FROM found) all_of
LEFT JOIN (SELECT * FROM found ORDER BY place LIMIT $8 OFFSET $9) page ON true
ORDER BY page.place
