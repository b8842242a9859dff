-- Of these, whoever has not come back and has nothing left to be taken over.
WITH gone AS (
    DELETE FROM updraft.scheduler s USING updraft.heartbeat h
    WHERE s.id = ANY ($1) AND h.scheduler = s.id AND (h.alive_until IS NULL OR h.alive_until < $2)
        AND NOT EXISTS (SELECT FROM updraft.dag_run r WHERE r.owner = s.id)
        AND NOT EXISTS (SELECT FROM updraft.attempt a WHERE a.scheduler = s.id)
    RETURNING s.id
), lanes AS (
    DELETE FROM updraft.lane l USING gone WHERE l.scheduler = gone.id
), changes AS (
    DELETE FROM updraft.run_change c USING gone WHERE c.scheduler = gone.id
)
DELETE FROM updraft.heartbeat h USING gone WHERE h.scheduler = gone.id
