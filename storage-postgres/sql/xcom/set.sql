-- Waits for whoever is about to make the attempt obsolete, and holds up whoever comes after.
WITH live AS (
    SELECT run, task, map_index FROM updraft.attempt WHERE token = $1 AND NOT is_obsolete FOR SHARE
)
INSERT INTO updraft.xcom (run, task, map_index, key, value, "timestamp")
SELECT run, task, map_index, $2, $3::text::json, $4 FROM live
ON CONFLICT (run, task, map_index, key) DO UPDATE SET value = excluded.value, "timestamp" = excluded."timestamp"
