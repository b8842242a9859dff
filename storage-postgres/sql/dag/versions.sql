SELECT id, dag, content_hash, definition FROM updraft.dag_version WHERE id = ANY ($1)
