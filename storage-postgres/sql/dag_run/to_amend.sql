SELECT id, owner, state, start_date, end_date, queued_at, last_scheduling_decision, clear_number, version
FROM updraft.dag_run WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
