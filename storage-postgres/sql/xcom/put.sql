INSERT INTO updraft.xcom (run, task, map_index, key, value, "timestamp")
SELECT *, $6 FROM unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::json[])
ON CONFLICT (run, task, map_index, key) DO UPDATE SET value = excluded.value, "timestamp" = excluded."timestamp"
