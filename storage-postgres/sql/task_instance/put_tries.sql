-- A try goes to the history once.
INSERT INTO updraft.task_instance_try (run, task, map_index, try_number, state, is_branched_off, max_tries, queued_when,
    start_date, end_date, host, pid)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::smallint[], $6::boolean[], $7::bigint[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::int[], $12::int[])
ON CONFLICT DO NOTHING
