SELECT d.id, d.newest_version, d.schedule_sequence, d.is_paused, d.max_active_runs FROM updraft.dag d
WHERE d.id IN (SELECT v.dag FROM updraft.dag_version v WHERE v.id = ANY ($1)) AND d.is_active
ORDER BY d.id FOR NO KEY UPDATE
