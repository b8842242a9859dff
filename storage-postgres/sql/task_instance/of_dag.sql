-- A page of all instances of one DAG, which ends at $2 and begins at $3, and how many it has: one row at least, if there is the
-- DAG. Runs are walked from the first one: for pages near it. The first row of each run has what is known of the run.
SELECT /* run */, /* instance */, whole.total
FROM (SELECT d.id, d.dag_id FROM updraft.dag d WHERE d.namespace = '' AND d.dag_id = $1) AS d
CROSS JOIN LATERAL (
    -- Each run has one instance of each task of its version.
    SELECT COALESCE(sum(v.runs * size.n), 0)::bigint AS total
    FROM (SELECT r.dag_version, count(*) AS runs FROM updraft.dag_run r WHERE r.dag = d.id GROUP BY r.dag_version) AS v
    CROSS JOIN LATERAL (
        SELECT COALESCE(max(t.ix) + 1, 0) AS n FROM updraft.task t WHERE t.version = v.dag_version
    ) AS size
    -- Worked out once.
    OFFSET 0
) AS whole
LEFT JOIN LATERAL (
    SELECT own.*
    FROM (
        SELECT run, n, (sum(n) OVER (ORDER BY run ROWS UNBOUNDED PRECEDING) - n)::bigint AS before
        FROM (
            SELECT r.id AS run, size.n::bigint AS n
            FROM (SELECT r.id, r.dag_version FROM updraft.dag_run r WHERE r.dag = d.id ORDER BY r.id OFFSET 0) AS r
            CROSS JOIN LATERAL (
                SELECT COALESCE(max(t.ix) + 1, 0) AS n FROM updraft.task t WHERE t.version = r.dag_version OFFSET 0
            ) AS size
            WHERE size.n > 0
            ORDER BY r.id
            LIMIT $2
        ) AS walked
    ) AS placed
    CROSS JOIN LATERAL (
        SELECT i.run, i.task, i.map_index, row_number() OVER (ORDER BY i.task, i.map_index) AS place
        FROM (
            SELECT i.run, i.task, i.map_index
            FROM updraft.task_instance i
            WHERE i.run = placed.run
            ORDER BY i.task, i.map_index
            LIMIT least($2 - before, n) - greatest($3 - before, 0) OFFSET greatest($3 - before, 0)
        ) AS i
    ) AS own
    WHERE before + n > $3 AND before < $2
) AS k ON true
LEFT JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.id = k.run AND k.place = 1 OFFSET 0) AS r ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    OFFSET 0
) AS i ON true
ORDER BY k.run, k.task, k.map_index
