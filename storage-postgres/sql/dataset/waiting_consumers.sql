-- Datasets of which an update is queued for active DAGs that are not paused and have room for another run, if their newest
-- version is among $1.
WITH waiting AS MATERIALIZED (SELECT DISTINCT dag FROM updraft.dataset_queue)
SELECT d.newest_version, s.uri
FROM waiting w
CROSS JOIN LATERAL (SELECT * FROM updraft.dag o WHERE o.id = w.dag OFFSET 0) d
CROSS JOIN LATERAL (SELECT o.dataset FROM updraft.dataset_queue o WHERE o.dag = d.id OFFSET 0) q
CROSS JOIN LATERAL (SELECT o.uri FROM updraft.dataset o WHERE o.id = q.dataset OFFSET 0) s
WHERE d.newest_version = ANY ($1::bigint[]) AND d.is_active AND NOT d.is_paused
  AND d.max_active_runs > (
      SELECT count(*) FROM updraft.dag_run a WHERE a.dag = d.id AND (a.state = 1 OR (a.state = 0 AND a.owner IS NOT NULL))
  ) + (
      SELECT count(*) FROM updraft.dag_version v
      CROSS JOIN LATERAL (
          SELECT FROM updraft.dag_run o WHERE o.dag_version = v.id AND o.state = 0 AND o.owner IS NULL OFFSET 0
      ) r
      WHERE v.dag = d.id
  )
ORDER BY d.dag_id, s.uri
