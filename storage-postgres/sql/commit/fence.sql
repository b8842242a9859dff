-- Fence and batch number in one; then the runs, sorted; then the limits that the batch will meet as far as that is known,
-- DAGs before pools (one without bound takes no lock); then the instances that the batch touches, as
-- task_instance/images has them. No row of the fence: replaced, repeated, or out of order.
-- Where a lock is waited for, instances are those of the time before; but then somebody else has changed the run's version,
-- and they are of no use anyway.
WITH fence AS (
    UPDATE updraft.lane SET sequence = $4, verdicts = NULL
    WHERE scheduler = $1 AND lane = $2 AND epoch = $3 AND (sequence = $4 - 1 OR sequence IS NULL)
    RETURNING 1
), runs AS (
    SELECT id, version, owner, state, dag_version FROM updraft.dag_run WHERE id = ANY ($5) ORDER BY id FOR NO KEY UPDATE
), dags AS (
    SELECT id, is_paused, max_active_runs, max_active_tasks FROM updraft.dag WHERE id = ANY ($11) ORDER BY id
    FOR NO KEY UPDATE
), pools AS (
    SELECT name, slots FROM updraft.pool WHERE name = ANY ($12) AND slots <> -1 ORDER BY name FOR NO KEY UPDATE
)
SELECT NULL::bigint AS run, NULL::int AS task, NULL::int AS map_index, NULL::smallint AS state, NULL::int AS try_number,
    NULL::bigint AS max_tries_or_version, NULL::boolean AS is_branched_off, NULL::timestamptz AS queued_when,
    NULL::timestamptz AS start_date, NULL::timestamptz AS end_date, NULL::timestamptz AS due_at, NULL::int AS host,
    NULL::int AS pid, NULL::uuid AS token, NULL::int AS attempt_try_number, NULL::smallint AS phase,
    NULL::boolean AS is_obsolete, NULL::timestamptz AS attempt_queued_when, NULL::timestamptz AS attempt_start_date,
    NULL::int AS attempt_host, NULL::int AS attempt_pid, NULL::int AS dag, NULL::bigint AS slots_or_dag_version,
    NULL::text AS task_id, NULL::text AS pool, NULL::bigint AS owner
FROM fence
UNION ALL
SELECT id, NULL, NULL, state, NULL, version, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, dag_version, NULL, NULL, owner
FROM runs
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, max_active_runs, is_paused, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, id, max_active_tasks, NULL, NULL, NULL
FROM dags
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, slots, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, name, NULL
FROM (SELECT * FROM pools UNION ALL SELECT name, slots FROM updraft.pool WHERE name = ANY ($12) AND slots = -1) p
UNION ALL
SELECT k.run, k.task, k.map_index, i.state, i.try_number, i.max_tries, i.is_branched_off, i.queued_when, i.start_date,
    i.end_date, i.due_at, i.host, i.pid,
    a.token, a.try_number, a.phase, a.is_obsolete, a.queued_when, a.start_date, a.host, a.pid,
    a.dag, a.pool_slots, a.task_id, a.pool, NULL
-- A row or an attempt that nobody asks for has no run here, and costs no probe of the index.
FROM unnest($6::bigint[], $7::int[], $8::int[], $9::bigint[], $10::bigint[])
    AS k (run, task, map_index, run_of_row, run_of_attempt)
LEFT JOIN LATERAL (
    SELECT * FROM updraft.task_instance i
    WHERE i.run = k.run_of_row AND i.task = k.task AND i.map_index = k.map_index OFFSET 0
) i ON true
LEFT JOIN LATERAL (
    SELECT * FROM updraft.attempt a
    WHERE a.run = k.run_of_attempt AND a.task = k.task AND a.map_index = k.map_index OFFSET 0
) a ON true
