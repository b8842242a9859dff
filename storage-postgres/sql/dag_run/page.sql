SELECT
    r.id, d.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.data_interval_start, r.data_interval_end, r.queued_at,
    r.start_date, r.end_date, r.external_trigger, r.conf, r.note, r.note_user, r.last_scheduling_decision, r.dag_version,
    r.clear_number, r.version, r.owner, r.updated_at, r.uid
FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag
WHERE ($1::int IS NULL OR r.dag = $1)
    AND ($2::int[] IS NULL OR r.dag = ANY ($2))
    AND ($3::text[] IS NULL OR r.run_id = ANY ($3))
    AND ($4::timestamptz IS NULL OR r.logical_date >= $4)
    AND ($5::timestamptz IS NULL OR r.logical_date <= $5)
    AND ($6::smallint[] IS NULL OR r.state = ANY ($6))
    AND ($7::smallint[] IS NULL OR r.run_type = ANY ($7))
    AND ($8::timestamptz IS NULL OR r.start_date >= $8)
    AND ($9::timestamptz IS NULL OR r.start_date <= $9)
    AND ($10::timestamptz IS NULL OR r.end_date >= $10)
    AND ($11::timestamptz IS NULL OR r.end_date <= $11)
    AND ($12::timestamptz IS NULL OR r.updated_at >= $12)
    AND ($13::timestamptz IS NULL OR r.updated_at <= $13)
ORDER BY /* order */
LIMIT $14 OFFSET $15
