-- Of the oldest entries after $1 deletes the old ones; the last entry that was looked at, how many there were, and how many
-- are deleted.
WITH oldest AS (
    SELECT e.id, e."when" < $2 AS is_old FROM updraft.event_log e WHERE e.id > $1 ORDER BY e.id LIMIT $3
), deleted AS (
    DELETE FROM updraft.event_log e USING oldest o WHERE e.id = o.id AND o.is_old
)
SELECT COALESCE(max(id), $1), count(*), count(*) FILTER (WHERE is_old) FROM oldest
