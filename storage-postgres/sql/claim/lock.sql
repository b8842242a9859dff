-- Candidates that are still free, as far as nobody else has them in hand; with the locks of their DAGs' limits to follow.
SELECT r.id, r.dag, r.state, r.owner, NOT r.was_owned AND r.version = 0 AS is_new FROM updraft.dag_run r
WHERE r.id = ANY ($2) AND r.state < 2 AND (r.owner IS NULL OR r.owner <> $1 AND NOT EXISTS (
    SELECT FROM updraft.heartbeat h WHERE h.scheduler = r.owner AND h.alive_until > clock_timestamp()))
ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
