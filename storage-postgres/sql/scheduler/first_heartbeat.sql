INSERT INTO updraft.heartbeat (scheduler, epoch, lease, alive_until)
VALUES ($1, $2, make_interval(secs => $3), clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (scheduler) DO UPDATE SET epoch = excluded.epoch, lease = excluded.lease, alive_until = excluded.alive_until
RETURNING clock_timestamp()
