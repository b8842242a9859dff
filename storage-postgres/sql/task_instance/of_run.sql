-- A part of one run, and how many instances it has in all: one row at least, if there is the run. The first row has what is
-- known of the run.
SELECT r.*, /* instance */, whole.total
FROM (
    SELECT r.id AS run, r.dag_version AS version
    FROM updraft.dag d
    CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
    WHERE d.namespace = '' AND d.dag_id = $1
) AS part
CROSS JOIN LATERAL (
    -- Each run has one instance of each task of its version.
    SELECT COALESCE(max(t.ix) + 1, 0)::bigint AS total FROM updraft.task t WHERE t.version = part.version OFFSET 0
) AS whole
LEFT JOIN LATERAL (
    SELECT i.run, i.task, i.map_index, row_number() OVER (ORDER BY i.task, i.map_index) AS place
    FROM (
        SELECT i.run, i.task, i.map_index
        FROM updraft.task_instance i
        WHERE i.run = part.run
        ORDER BY i.task, i.map_index
        LIMIT $3 OFFSET $4
    ) AS i
) AS k ON true
LEFT JOIN LATERAL (
    SELECT /* run */ FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag WHERE r.id = k.run AND k.place = 1 OFFSET 0
) AS r ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    OFFSET 0
) AS i ON true
ORDER BY k.task, k.map_index
