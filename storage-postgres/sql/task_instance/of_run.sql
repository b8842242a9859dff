-- A part of one run, and how many instances it has in all: one row at least.
SELECT /* instance */, whole.total
FROM (SELECT $1::bigint AS run, $2::bigint AS skipped, $3::bigint AS taken) AS part
CROSS JOIN LATERAL (
    SELECT CASE
        -- Each run has one instance of each task of its version.
        WHEN $4::smallint[] IS NULL AND $5::text[] IS NULL AND $6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL
            THEN (
                SELECT COALESCE(max(t.ix) + 1, 0)::bigint FROM updraft.task t
                WHERE t.version = (SELECT r.dag_version FROM updraft.dag_run r WHERE r.id = part.run)
            )
        ELSE (SELECT count(*) FROM updraft.task_instance i WHERE /* own */)
    END AS total
    -- Worked out once.
    OFFSET 0
) AS whole
LEFT JOIN LATERAL (
    SELECT i.run, i.task, i.map_index
    FROM updraft.task_instance i
    WHERE /* own */
    ORDER BY i.task, i.map_index
    LIMIT part.taken OFFSET part.skipped
) AS k ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    OFFSET 0
) AS i ON true
ORDER BY k.task, k.map_index
