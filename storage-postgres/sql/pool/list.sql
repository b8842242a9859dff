-- Pools and their slots. What is scheduled is looked for in each run on its own: history costs nothing.
WITH found AS (
    SELECT *, row_number() OVER (ORDER BY /* order */ id) AS place FROM updraft.pool
), page AS (
    SELECT * FROM found ORDER BY place LIMIT $1 OFFSET $2
), taken AS (
    SELECT pool,
           COALESCE(sum(pool_slots) FILTER (WHERE phase = 1), 0)::bigint AS running,
           COALESCE(sum(pool_slots) FILTER (WHERE phase = 0), 0)::bigint AS queued
    FROM updraft.attempt
    GROUP BY pool
), waiting AS (
    SELECT t.pool, sum(t.pool_slots)::bigint AS scheduled
    FROM (
        SELECT id, dag_version FROM updraft.dag_run WHERE owner IS NULL AND state < 2
        UNION ALL
        SELECT id, dag_version FROM updraft.dag_run WHERE owner IS NOT NULL
        UNION ALL
        SELECT id, dag_version FROM updraft.dag_run WHERE counts[2] > 0
    ) run
    CROSS JOIN LATERAL (
        SELECT i.task
        FROM updraft.task_instance i
        WHERE i.run = run.id
          AND i.state = 1
          AND NOT EXISTS (
              SELECT FROM updraft.attempt a
              WHERE a.run = i.run AND a.task = i.task AND a.map_index = i.map_index AND NOT a.is_obsolete
          )
        -- Keeps the planner from reading all instances at once.
        OFFSET 0
    ) instance
    JOIN updraft.task t ON t.version = run.dag_version AND t.ix = instance.task
    GROUP BY t.pool
)
SELECT all_of.total, page.*, COALESCE(taken.running, 0) AS running, COALESCE(taken.queued, 0) AS queued,
       COALESCE(waiting.scheduled, 0) AS scheduled
FROM (SELECT count(*) AS total FROM found) all_of
LEFT JOIN page ON true
LEFT JOIN taken ON taken.pool = page.name
LEFT JOIN waiting ON waiting.pool = page.name
ORDER BY place
