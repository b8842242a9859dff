UPDATE updraft.dag d
SET newest_version = new.version,
    is_active = true,
    last_parsed_time = $1,
    fileloc = new.fileloc,
    description = new.description,
    owners = new.owners,
    tags = ARRAY(SELECT json_array_elements_text(new.tags::json)),
    max_active_runs = new.max_active_runs,
    max_active_tasks = new.max_active_tasks,
    is_timed = new.is_timed,
    schedule_due_at = CASE WHEN new.is_timed THEN timestamptz 'epoch' END,
    is_held = false,
    next_dagrun = CASE WHEN new.is_timed THEN d.next_dagrun END,
    next_dagrun_data_interval_start = CASE WHEN new.is_timed THEN d.next_dagrun_data_interval_start END,
    next_dagrun_data_interval_end = CASE WHEN new.is_timed THEN d.next_dagrun_data_interval_end END,
    next_dagrun_create_after = CASE WHEN new.is_timed THEN d.next_dagrun_create_after END
FROM unnest($2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::boolean[])
    AS new (dag, version, fileloc, description, owners, tags, max_active_runs, max_active_tasks, is_timed)
WHERE d.id = new.dag
