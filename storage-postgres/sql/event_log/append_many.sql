INSERT INTO updraft.event_log ("when", event, dag_id, task_id, run_id, map_index, logical_date, owner, extra)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::timestamptz[], $8::text[], $9::text[])
