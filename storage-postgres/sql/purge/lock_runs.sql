-- Those that still may go, and that nobody else is about to change.
SELECT r.id FROM updraft.dag_run r
WHERE r.id = ANY ($1) AND r.state > 1 AND r.end_date < $2
    AND NOT EXISTS (SELECT FROM updraft.attempt a WHERE a.run = r.id)
ORDER BY r.id FOR UPDATE OF r SKIP LOCKED
