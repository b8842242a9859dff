-- As `of_run`, of some states and tasks: what is found is read once for the page and the total.
WITH part AS MATERIALIZED (
    SELECT r.id AS run
    FROM updraft.dag d
    CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run r WHERE r.dag = d.id AND r.run_id = $2 OFFSET 0) AS r
    WHERE d.namespace = '' AND d.dag_id = $1
), found AS MATERIALIZED (
    SELECT i.run, i.task, i.map_index
    FROM part
    CROSS JOIN LATERAL (SELECT * FROM updraft.task_instance i WHERE /* own */ OFFSET 0) AS i
)
SELECT r.*, /* instance */, whole.total
FROM (SELECT count(*) AS total FROM found) AS whole
LEFT JOIN (
    SELECT k.*, row_number() OVER (ORDER BY k.task, k.map_index) AS place
    FROM (SELECT * FROM found ORDER BY task, map_index LIMIT $3 OFFSET $9) AS k
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
