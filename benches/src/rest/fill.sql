-- A history as schedulers leave it: runs of all DAGs in turns, those of a DAG an hour apart; every instance ended at its first
-- try, the last task of one run in fifty failed; the newest run of each tenth DAG still runs, with one task under way.
-- $runs (of each DAG) and $tasks (of each run) are put in as numbers.
INSERT INTO updraft.host (hostname, unixname) VALUES ('worker-1', 'updraft');
INSERT INTO updraft.scheduler (name, epoch, host) SELECT 'gone', 1, id FROM updraft.host;

INSERT INTO updraft.dag_run (dag, dag_version, run_id, logical_date, data_interval_start, data_interval_end, queued_at,
    start_date, end_date, last_scheduling_decision, updated_at, owner, was_owned, run_type, state, external_trigger, conf, counts)
SELECT d.id, d.newest_version, 'scheduled__' || to_char(day.at, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'), day.at, day.at, day.at,
    day.at, day.at + interval '1 s', CASE WHEN r.live THEN NULL ELSE day.at + interval '60 s' END, day.at, day.at,
    CASE WHEN r.live THEN (SELECT id FROM updraft.scheduler) END, true, 1,
    CASE WHEN r.live THEN 1 WHEN r.failed THEN 3 ELSE 2 END, false, '{}',
    CASE WHEN r.live THEN NULL WHEN r.failed THEN ARRAY[0, 0, 0, 0, $tasks - 1, 0, 1, 0, 0, 0, 0, 0, 0]
        ELSE ARRAY[0, 0, 0, 0, $tasks, 0, 0, 0, 0, 0, 0, 0, 0] END
FROM generate_series(1, $runs) AS n (n)
CROSS JOIN updraft.dag d
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01 00:00:00+00' + n.n * interval '1 h' AS at) AS day
CROSS JOIN LATERAL (SELECT n.n = $runs AND d.id % 10 = 5 AS live, d.id % 50 = n.n % 50 AS failed) AS r
ORDER BY n.n, d.id;

INSERT INTO updraft.task_instance (run, task, map_index, state, try_number, max_tries, updated_at, queued_when, start_date,
    end_date, host, pid)
SELECT r.id, t.ix, -1,
    CASE WHEN r.state = 1 THEN CASE WHEN t.ix = 0 THEN 4 WHEN t.ix = 1 THEN 1 ELSE 0 END
        WHEN r.state = 3 AND t.ix = $tasks - 1 THEN 6 ELSE 4 END,
    CASE WHEN r.state = 1 AND t.ix > 0 THEN 0 ELSE 1 END, 0, r.start_date + t.ix * interval '1 s' + interval '1 s',
    CASE WHEN r.state = 1 AND t.ix > 0 THEN NULL ELSE r.start_date + t.ix * interval '1 s' END,
    CASE WHEN r.state = 1 AND t.ix > 0 THEN NULL ELSE r.start_date + t.ix * interval '1 s' END,
    CASE WHEN r.state = 1 AND t.ix > 0 THEN NULL ELSE r.start_date + t.ix * interval '1 s' + interval '1 s' END,
    CASE WHEN r.state = 1 AND t.ix > 0 THEN NULL ELSE (SELECT id FROM updraft.host) END,
    CASE WHEN r.state = 1 AND t.ix > 0 THEN NULL ELSE 4711 END
FROM updraft.dag_run r
JOIN updraft.task t ON t.version = r.dag_version
ORDER BY r.id, t.ix;

INSERT INTO updraft.attempt (token, run, task, map_index, try_number, phase, scheduler, epoch, host, pid, dag, pool_slots,
    queued_when, start_date, task_id, pool)
SELECT gen_random_uuid(), r.id, 1, -1, 1, 1, r.owner, 1, (SELECT id FROM updraft.host), 4711, r.dag, 1, r.start_date,
    r.start_date, t.task_id, t.pool
FROM updraft.dag_run r
JOIN updraft.task t ON t.version = r.dag_version AND t.ix = 1
WHERE r.owner IS NOT NULL;

INSERT INTO updraft.rendered_fields (run, task, map_index, fields)
SELECT run, task, map_index, '{"bash_command": "echo 1", "env": null}' FROM updraft.task_instance WHERE task = 0;

INSERT INTO updraft.xcom (run, task, map_index, key, value, "timestamp")
SELECT run, task, map_index, 'return_value', '{"rows": 17}', end_date FROM updraft.task_instance WHERE task = 0;

INSERT INTO updraft.event_log ("when", run, task, map_index, try_number, event)
SELECT i.updated_at, i.run, i.task, i.map_index, 1, CASE i.state WHEN 6 THEN 'failed' ELSE 'success' END
FROM updraft.task_instance i WHERE i.state IN (4, 6) ORDER BY i.run, i.task;

INSERT INTO updraft.log_chunk (run, task, map_index, try_number, "offset", content)
SELECT id, 0, -1, 1, 0, convert_to('the first line' || chr(10), 'UTF8') FROM updraft.dag_run;
