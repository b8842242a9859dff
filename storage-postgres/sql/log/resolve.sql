-- Where logs belong and how long they are; those whose run or task does not exist are left out.
SELECT k.place, r.id, t.ix, COALESCE(c.stop, 0)
FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[]) WITH ORDINALITY
    AS k (dag_id, run_id, task_id, map_index, try_number, place)
JOIN updraft.dag d ON d.namespace = '' AND d.dag_id = k.dag_id
JOIN updraft.dag_run r ON r.dag = d.id AND r.run_id = k.run_id
JOIN updraft.task t ON t.version = r.dag_version AND t.task_id = k.task_id
LEFT JOIN LATERAL (
    SELECT l."offset" + length(l.content) AS stop FROM updraft.log_chunk l
    WHERE l.run = r.id AND l.task = t.ix AND l.map_index = k.map_index AND l.try_number = k.try_number
    ORDER BY l."offset" DESC LIMIT 1
) c ON true
