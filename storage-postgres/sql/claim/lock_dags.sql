SELECT id, is_paused, max_active_runs FROM updraft.dag WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
