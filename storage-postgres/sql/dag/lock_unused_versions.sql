-- Versions that no run has, but for each DAG's last two. Whoever makes a run of one holds its row.
SELECT v.id
FROM updraft.dag_version v
WHERE v.dag = ANY ($1)
  AND v.id < (
      SELECT min(id) FROM (SELECT l.id FROM updraft.dag_version l WHERE l.dag = v.dag ORDER BY l.id DESC LIMIT 2) last
  )
  AND NOT EXISTS (SELECT FROM updraft.dag_run r WHERE r.dag = v.dag AND r.dag_version = v.id OFFSET 0)
FOR UPDATE OF v SKIP LOCKED
