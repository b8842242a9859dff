-- The run and, if it exists, the instance.
SELECT r.*,
    i.run, i.task, i.map_index, i.state AS instance_state, i.is_branched_off, i.try_number, i.max_tries, i.queued_when,
    i.start_date AS instance_start_date, i.end_date AS instance_end_date, i.due_at, i.hostname, i.unixname, i.pid,
    i.note AS instance_note, i.note_user AS instance_note_user, i.rendered_fields
FROM (
    SELECT /* run */
    FROM updraft.dag d
    JOIN updraft.dag_run r ON r.dag = d.id AND r.run_id = $2
    WHERE d.namespace = '' AND d.dag_id = $1
) AS r
LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.task_id = $3
LEFT JOIN updraft.task_instance_now i ON i.run = r.id AND i.task = t.ix AND i.map_index = $4
