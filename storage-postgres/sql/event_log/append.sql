INSERT INTO updraft.event_log ("when", event, dag_id, task_id, run_id, map_index, logical_date, owner, extra)
VALUES (COALESCE($1, now()), $2, $3, $4, $5, $6, $7, $8, $9)
