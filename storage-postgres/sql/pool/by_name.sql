-- A pool and its slots. What is scheduled is looked for in each run on its own: history costs nothing.
SELECT p.*, taken.running, taken.queued, waiting.scheduled
FROM updraft.pool p
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(pool_slots) FILTER (WHERE phase = 1), 0)::bigint AS running,
           COALESCE(sum(pool_slots) FILTER (WHERE phase = 0), 0)::bigint AS queued
    FROM updraft.attempt
    WHERE pool = p.name
) AS taken
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(t.pool_slots), 0)::bigint AS scheduled
    FROM (
        SELECT id, dag_version FROM updraft.dag_run WHERE owner IS NULL AND state < 2
        UNION ALL
        SELECT id, dag_version FROM updraft.dag_run WHERE owner IS NOT NULL
        UNION ALL
        SELECT id, dag_version FROM updraft.dag_run WHERE counts[2] > 0
    ) AS run
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
    ) AS instance
    CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = run.dag_version AND t.ix = instance.task OFFSET 0) AS t
    WHERE t.pool = p.name
) AS waiting
WHERE p.name = $1
