INSERT INTO updraft.task_instance (run, task, map_index, state, max_tries, updated_at)
SELECT r.id, t.ix, -1, 0, t.retries, $3
FROM unnest($1::bigint[], $2::bigint[]) AS r (id, version)
CROSS JOIN LATERAL (SELECT * FROM updraft.task t WHERE t.version = r.version OFFSET 0) t
