UPDATE updraft.dag d
SET newest_version = new.version,
    is_active = true,
    last_parsed_time = $1,
    fileloc = new.fileloc,
    description = new.description,
    owners = new.owners,
    tags = ARRAY(SELECT json_array_elements_text(new.tags::json)),
    max_active_runs = new.max_active_runs,
    max_active_tasks = new.max_active_tasks
FROM unnest($2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[])
    AS new (dag, version, fileloc, description, owners, tags, max_active_runs, max_active_tasks)
WHERE d.id = new.dag
