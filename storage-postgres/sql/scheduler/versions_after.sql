SELECT id, dag, content_hash, definition FROM updraft.dag_version WHERE id > $1 ORDER BY id LIMIT $2
