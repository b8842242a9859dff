-- Waits for whoever is about to make the attempt obsolete, and holds up whoever comes after.
WITH live AS (
    SELECT run, task, map_index FROM updraft.attempt WHERE token = $1 AND NOT is_obsolete FOR SHARE
)
INSERT INTO updraft.rendered_fields (run, task, map_index, fields)
SELECT run, task, map_index, $2::text::json FROM live
ON CONFLICT (run, task, map_index) DO UPDATE SET fields = excluded.fields
