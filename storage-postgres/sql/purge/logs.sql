-- Logs of runs up to $1 that are gone: of a try that logged while its run was being deleted.
WITH RECURSIVE logged AS (
    (SELECT run FROM updraft.log_chunk ORDER BY run LIMIT 1)
    UNION ALL
    SELECT (SELECT c.run FROM updraft.log_chunk c WHERE c.run > l.run ORDER BY c.run LIMIT 1)
    FROM logged l WHERE l.run < $1
)
DELETE FROM updraft.log_chunk
WHERE run IN (
    SELECT l.run FROM logged l
    WHERE l.run <= $1 AND NOT EXISTS (SELECT FROM updraft.dag_run r WHERE r.id = l.run)
)
