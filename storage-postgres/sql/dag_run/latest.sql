-- One probe of the index a DAG, however many runs it has.
SELECT
    r.id, d.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.data_interval_start, r.data_interval_end, r.queued_at,
    r.start_date, r.end_date, r.external_trigger, r.conf, r.note, r.note_user, r.last_scheduling_decision, r.dag_version,
    r.clear_number, r.version, r.owner, r.updated_at
FROM updraft.dag d
CROSS JOIN LATERAL (SELECT * FROM updraft.dag_run o WHERE o.dag = d.id ORDER BY o.logical_date DESC LIMIT 1) r
WHERE d.namespace = '' AND ($1::text[] IS NULL OR d.dag_id = ANY ($1))
ORDER BY d.dag_id
