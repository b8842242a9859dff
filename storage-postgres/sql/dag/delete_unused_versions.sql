DELETE FROM updraft.dag_version v
WHERE v.id = ANY ($1) AND NOT EXISTS (SELECT FROM updraft.dag_run r WHERE r.dag_version = v.id)
RETURNING v.id
