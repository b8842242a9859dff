-- Hosts of no scheduler.
SELECT h.id::bigint FROM updraft.host h
WHERE NOT EXISTS (SELECT FROM updraft.scheduler s WHERE s.host = h.id)
ORDER BY h.id FOR UPDATE SKIP LOCKED
