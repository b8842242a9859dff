-- Those that still may go, and that nobody else is about to change.
SELECT r.id FROM updraft.dag_run r
WHERE r.id = ANY ($1) AND r.state > 1 AND r.end_date < $2
    AND NOT EXISTS (SELECT FROM updraft.attempt a WHERE a.run = r.id)
        -- The last one that a schedule made tells where that goes on.
        AND (r.run_type > 1 OR EXISTS (SELECT FROM updraft.dag_run l
            WHERE l.dag = r.dag AND l.run_type < 2 AND l.logical_date > r.logical_date))
ORDER BY r.id FOR UPDATE OF r SKIP LOCKED
