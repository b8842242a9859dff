-- Attempts of these runs count no longer: their instances take over what they were.
WITH retired AS (
    UPDATE updraft.attempt SET is_obsolete = true WHERE run = ANY ($1) AND NOT is_obsolete RETURNING *
)
UPDATE updraft.task_instance i
SET state = 2 + r.phase, is_branched_off = false, try_number = r.try_number, queued_when = r.queued_when,
    start_date = r.start_date, end_date = NULL, due_at = NULL, host = r.host,
    pid = r.pid
FROM retired r
CROSS JOIN LATERAL (
    SELECT o.ctid AS place FROM updraft.task_instance o
    WHERE o.run = r.run AND o.task = r.task AND o.map_index = r.map_index OFFSET 0
) o
WHERE i.ctid = o.place
