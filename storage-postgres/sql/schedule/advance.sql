UPDATE updraft.dag d
SET schedule_sequence = d.schedule_sequence + 1,
    schedule_due_at = CASE WHEN NOT n.is_held AND NOT d.is_paused THEN n.due END,
    is_held = n.is_held,
    next_dagrun = n.logical_date,
    next_dagrun_data_interval_start = n.starts,
    next_dagrun_data_interval_end = n.ends,
    next_dagrun_create_after = n.create_after
FROM unnest($1::int[], $2::boolean[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::timestamptz[]) AS n (id, is_held, logical_date, starts, ends, create_after, due)
WHERE d.id = n.id
