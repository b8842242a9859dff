INSERT INTO updraft.xcom (run, task, map_index, key, value, "timestamp")
SELECT x.run, x.task, x.map_index, x.key, x.value::json, $6
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::text[]) AS x (run, task, map_index, key, value)
ON CONFLICT (run, task, map_index, key) DO UPDATE SET value = excluded.value, "timestamp" = excluded."timestamp"
