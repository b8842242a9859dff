-- DAGs of these runs whose schedules may have made one of them are to be looked at anew.
UPDATE updraft.dag d SET schedule_due_at = 'epoch', is_held = false
WHERE d.is_timed AND d.id IN (
    SELECT l.id FROM updraft.dag l
    WHERE l.id IN (SELECT r.dag FROM updraft.dag_run r WHERE r.id = ANY ($1) AND r.run_type < 2)
    ORDER BY l.id FOR NO KEY UPDATE
)
