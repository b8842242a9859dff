-- Instances by key, then those of attempts by token; an attempt's instance may be gone.
SELECT i.run, i.task, i.map_index, i.state, i.try_number, i.max_tries, i.is_branched_off, i.queued_when, i.start_date,
    i.end_date, i.due_at, i.host, i.pid,
    a.token, a.try_number, a.phase, a.is_obsolete, a.queued_when, a.start_date, a.host, a.pid,
    NULL::int, NULL::bigint, NULL::text, NULL::text
FROM unnest($1::bigint[], $2::int[], $3::int[]) AS k (run, task, map_index)
CROSS JOIN LATERAL (
    SELECT * FROM updraft.task_instance i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index OFFSET 0
) i
LEFT JOIN LATERAL (
    SELECT * FROM updraft.attempt a
    WHERE a.run = k.run AND a.task = k.task AND a.map_index = k.map_index OFFSET 0
) a ON true
UNION ALL
SELECT a.run, a.task, a.map_index, i.state, i.try_number, i.max_tries, i.is_branched_off, i.queued_when, i.start_date,
    i.end_date, i.due_at, i.host, i.pid,
    a.token, a.try_number, a.phase, a.is_obsolete, a.queued_when, a.start_date, a.host, a.pid,
    a.dag, a.pool_slots, a.task_id, a.pool
FROM updraft.attempt a
LEFT JOIN LATERAL (
    SELECT * FROM updraft.task_instance i
    WHERE i.run = a.run AND i.task = a.task AND i.map_index = a.map_index OFFSET 0
) i ON true
WHERE a.token = ANY ($4)
