r.id, d.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.data_interval_start, r.data_interval_end, r.queued_at,
    r.start_date, r.end_date, r.external_trigger, r.conf, r.note, r.note_user, r.last_scheduling_decision, r.dag_version,
    r.clear_number, r.version, r.owner, r.updated_at, r.uid
