INSERT INTO updraft.lane (scheduler, lane, epoch)
SELECT id, $2, epoch FROM updraft.scheduler WHERE id = $1 AND epoch = $3 FOR SHARE
ON CONFLICT DO NOTHING
