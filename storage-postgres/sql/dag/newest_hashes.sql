SELECT d.id AS dag, d.dag_id, v.id AS version, v.content_hash, d.datasets_version
FROM updraft.dag d
LEFT JOIN updraft.dag_version v ON v.id = d.newest_version
WHERE d.id = ANY ($1)
