UPDATE updraft.heartbeat SET alive_until = clock_timestamp() + lease
WHERE scheduler = $1 AND epoch = $2 AND alive_until IS NOT NULL
RETURNING clock_timestamp()
