-- Tries that have passed, then the instance as it stands.
SELECT *
FROM (
    SELECT false AS is_last, p.try_number, p.state, p.max_tries, p.start_date, p.end_date, p.is_branched_off, p.queued_when,
        CASE WHEN p.queued_when IS NULL THEN '' ELSE COALESCE(h.hostname, '') END AS hostname,
        COALESCE(h.unixname, i.unixname) AS unixname,
        CASE WHEN p.queued_when IS NOT NULL AND p.start_date IS NOT NULL THEN p.pid END AS pid
    FROM updraft.task_instance_try p
    JOIN updraft.task_instance_now i ON i.run = p.run AND i.task = p.task AND i.map_index = p.map_index
    LEFT JOIN updraft.host h ON h.id = p.host
    WHERE p.run = $1 AND p.task = $2 AND p.map_index = $3
    UNION ALL
    SELECT true, i.try_number, i.state, i.max_tries, i.start_date, i.end_date, i.is_branched_off, i.queued_when, i.hostname,
        i.unixname, i.pid
    FROM updraft.task_instance_now i
    WHERE i.run = $1 AND i.task = $2 AND i.map_index = $3
) AS tries
ORDER BY is_last, try_number
