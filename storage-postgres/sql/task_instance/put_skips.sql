INSERT INTO updraft.skip_decision (run, task, map_index, skip)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::json[])
ON CONFLICT (run, task, map_index) DO UPDATE SET skip = excluded.skip
