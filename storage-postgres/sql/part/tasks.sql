($6::text[] IS NULL OR t.task_id = ANY ($6))
    AND ($7::text[] IS NULL OR t.pool = ANY ($7))
    AND ($8::text[] IS NULL OR t.queue = ANY ($8))
    AND ($9::text[] IS NULL OR t.executor = ANY ($9))
