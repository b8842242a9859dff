-- The run and, if it exists, the instance: by key each, whatever is known of the tables when this is planned.
SELECT r.*,
    i.run, i.task, i.map_index, i.state AS instance_state, i.is_branched_off, i.try_number, i.max_tries, i.queued_when,
    i.start_date AS instance_start_date, i.end_date AS instance_end_date, i.due_at, i.hostname, i.unixname, i.pid,
    i.note AS instance_note, i.note_user AS instance_note_user, i.rendered_fields
FROM (
    SELECT /* run */
    FROM updraft.dag d
    CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
    WHERE d.namespace = '' AND d.dag_id = $1
) AS r
LEFT JOIN LATERAL (
    SELECT * FROM updraft.task t WHERE t.version = r.dag_version AND t.task_id = $3 OFFSET 0
) AS t ON true
LEFT JOIN LATERAL (
    SELECT * FROM updraft.task_instance_now i WHERE i.run = r.id AND i.task = t.ix AND i.map_index = $4 OFFSET 0
) AS i ON true
