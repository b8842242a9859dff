namespace = ''
    AND ($1::boolean IS NULL OR is_active = $1)
    AND ($2::boolean IS NULL OR is_paused = $2)
    AND ($3::text[] IS NULL OR tags && $3)
    -- Letters fold as the database's locale has it.
    AND ($4::text IS NULL OR dag_id COLLATE "default" ILIKE $4)
    AND ($5::text[] IS NULL OR dag_id = ANY ($5))
    AND ($6::text[] IS NULL OR dag_id = ANY ($6))
    AND ($7::text[] IS NULL OR fileloc = ANY ($7))
