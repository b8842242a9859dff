-- Schedulers that have left or been silent for long; the newest stays, because it says as whom tries would run.
SELECT s.id FROM updraft.scheduler s JOIN updraft.heartbeat h ON h.scheduler = s.id
WHERE (h.alive_until IS NULL OR h.alive_until < $1) AND s.id < (SELECT max(id) FROM updraft.scheduler)
ORDER BY s.id FOR UPDATE OF s SKIP LOCKED
