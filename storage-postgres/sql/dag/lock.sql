SELECT id FROM updraft.dag WHERE namespace = '' AND dag_id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
