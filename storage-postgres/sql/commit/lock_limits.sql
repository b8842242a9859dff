-- The limits that may bind, locked in one order: DAGs, then pools. A pool without bound takes no lock.
WITH dags AS (
    SELECT id, is_paused, max_active_runs, max_active_tasks FROM updraft.dag WHERE id = ANY ($1) ORDER BY id
    FOR NO KEY UPDATE
), pools AS (
    SELECT name, slots FROM updraft.pool WHERE name = ANY ($2) AND slots <> -1 ORDER BY name FOR NO KEY UPDATE
)
SELECT id, NULL::text AS name, is_paused, max_active_runs, max_active_tasks, NULL::int AS slots FROM dags
UNION ALL
SELECT NULL, name, NULL, NULL, NULL, slots FROM pools
UNION ALL
SELECT NULL, name, NULL, NULL, NULL, slots FROM updraft.pool WHERE name = ANY ($2) AND slots = -1
