UPDATE updraft.dag
SET is_active = true, last_parsed_time = $1,
    -- Whoever comes back is looked at anew.
    schedule_due_at = CASE WHEN is_timed AND NOT is_active THEN timestamptz 'epoch' ELSE schedule_due_at END
WHERE id = ANY ($2)
