-- A part of each of some runs.
SELECT /* instance */
FROM (
    SELECT own.*
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS part (run, skipped, taken)
    CROSS JOIN LATERAL (
        SELECT i.run, i.task, i.map_index
        FROM updraft.task_instance i
        WHERE /* own */
        ORDER BY i.task, i.map_index
        LIMIT part.taken OFFSET part.skipped
    ) AS own
) AS k
CROSS JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    -- By its key each, however unequal runs are.
    OFFSET 0
) AS i
ORDER BY k.run, k.task, k.map_index
