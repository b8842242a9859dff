-- The oldest runs after $1: whether each may go, how many task instances it has, and when it was queued.
SELECT r.id, r.state > 1 AND r.end_date < $2 AND NOT EXISTS (SELECT FROM updraft.attempt a WHERE a.run = r.id)
        -- The last one that a schedule made tells where that goes on.
        AND (r.run_type > 1 OR EXISTS (SELECT FROM updraft.dag_run l
            WHERE l.dag = r.dag AND l.run_type < 2 AND l.logical_date > r.logical_date)),
    (SELECT COALESCE(sum(c), 0) FROM unnest(r.counts) c), r.queued_at
FROM updraft.dag_run r WHERE r.id > $1 ORDER BY r.id LIMIT $3
