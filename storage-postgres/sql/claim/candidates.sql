-- Runs that the scheduler $1 of the epoch $2 could take, of the versions $3, at most $4 of each version; first a row that
-- says that the session is current, then one if there are attempts that nobody can end any more.
WITH RECURSIVE waiting AS (
    -- The versions that have waiting runs, each found by one probe of the index.
    (SELECT dag_version FROM updraft.dag_run WHERE owner IS NULL AND state < 2 ORDER BY dag_version LIMIT 1)
    UNION ALL
    SELECT (SELECT r.dag_version FROM updraft.dag_run r
        WHERE r.owner IS NULL AND r.state < 2 AND r.dag_version > w.dag_version ORDER BY r.dag_version LIMIT 1)
    FROM waiting w WHERE w.dag_version IS NOT NULL
), free AS (
    SELECT c.id FROM waiting w
    JOIN updraft.dag_version v ON v.id = w.dag_version
    JOIN updraft.dag d ON d.id = v.dag
    CROSS JOIN LATERAL (
        SELECT greatest(0, d.max_active_runs - (SELECT count(*) FROM updraft.dag_run a
            WHERE a.dag = d.id AND (a.state = 1 OR (a.state = 0 AND a.owner IS NOT NULL)))) AS runs
    ) room
    CROSS JOIN LATERAL (
        (SELECT r.id FROM updraft.dag_run r WHERE r.dag_version = w.dag_version AND r.owner IS NULL AND r.state = 1
            AND NOT EXISTS (SELECT FROM updraft.attempt a
                JOIN updraft.heartbeat h ON h.scheduler = a.scheduler AND h.epoch = a.epoch
                WHERE a.run = r.id AND a.scheduler <> $1 AND h.alive_until > clock_timestamp() OFFSET 0)
            ORDER BY r.logical_date, r.id LIMIT $4)
        UNION ALL
        (SELECT r.id FROM updraft.dag_run r WHERE r.dag_version = w.dag_version AND r.owner IS NULL AND r.state = 0
            AND NOT d.is_paused AND r.logical_date <= clock_timestamp()
            AND NOT EXISTS (SELECT FROM updraft.attempt a
                JOIN updraft.heartbeat h ON h.scheduler = a.scheduler AND h.epoch = a.epoch
                WHERE a.run = r.id AND a.scheduler <> $1 AND h.alive_until > clock_timestamp() OFFSET 0)
            ORDER BY r.logical_date, r.id LIMIT least($4, room.runs))
    ) c
    WHERE w.dag_version = ANY ($3)
    UNION ALL
    SELECT r.id FROM updraft.heartbeat h
    CROSS JOIN LATERAL (SELECT r.id, r.dag_version FROM updraft.dag_run r WHERE r.owner = h.scheduler OFFSET 0) r
    WHERE h.scheduler <> $1 AND (h.alive_until IS NULL OR h.alive_until <= clock_timestamp())
        AND r.dag_version = ANY ($3)
)
SELECT 0::smallint AS kind, NULL::bigint AS id, clock_timestamp() AS now WHERE EXISTS (SELECT FROM updraft.scheduler WHERE id = $1 AND epoch = $2)
UNION ALL
SELECT 1::smallint, NULL, NULL WHERE EXISTS (SELECT FROM updraft.attempt a
    LEFT JOIN updraft.heartbeat h ON h.scheduler = a.scheduler AND h.epoch = a.epoch
    WHERE a.is_obsolete AND (h.alive_until IS NULL OR h.alive_until <= clock_timestamp()))
UNION ALL
(SELECT 2::smallint, id, NULL FROM free ORDER BY id)
