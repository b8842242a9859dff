namespace = ''
    AND ($1::boolean IS NULL OR is_active = $1)
    AND ($2::boolean IS NULL OR is_paused = $2)
    AND $3::text[] IS NULL AND $4::text IS NULL AND $5::text[] IS NULL AND $6::text[] IS NULL AND $7::text[] IS NULL
