SELECT id FROM updraft.dag_run WHERE id = ANY ($2) AND owner = $1 ORDER BY id FOR NO KEY UPDATE
