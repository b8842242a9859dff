-- Attempts of these runs count no longer: their instances take over what they were.
WITH retired AS (
    UPDATE updraft.attempt a SET is_obsolete = true FROM unnest($1::bigint[]) AS r (run)
    WHERE a.run = r.run AND NOT a.is_obsolete
    RETURNING a.*
)
UPDATE updraft.task_instance i
SET state = 2 + r.phase, is_branched_off = false, try_number = r.try_number, queued_when = r.queued_when,
    start_date = r.start_date, end_date = NULL, due_at = NULL, host = r.host,
    pid = r.pid
FROM retired r
WHERE i.run = r.run AND i.task = r.task AND i.map_index = r.map_index
