-- Obsolete attempts that nobody will end: their run is gone or finished, their scheduler is gone or silent.
SELECT a.token, a.run FROM updraft.attempt a
LEFT JOIN updraft.heartbeat h ON h.scheduler = a.scheduler AND h.epoch = a.epoch
LEFT JOIN LATERAL (SELECT r.id, r.state FROM updraft.dag_run r WHERE r.id = a.run OFFSET 0) r ON true
WHERE a.is_obsolete AND (h.alive_until IS NULL OR h.alive_until <= clock_timestamp()) AND (r.id IS NULL OR r.state > 1)
