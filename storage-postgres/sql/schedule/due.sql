-- Schedules of the versions $2 that are due at $1, at most $3 of those by time and those by room; then a row that says when the
-- next one is.
WITH due AS (
    (SELECT d.id, d.newest_version, d.schedule_sequence, d.is_paused, d.created_at, d.schedule_due_at FROM updraft.dag d
        WHERE d.schedule_due_at <= $1 AND d.is_active AND d.newest_version = ANY ($2)
        ORDER BY d.schedule_due_at, d.id LIMIT $3)
    UNION ALL
    (SELECT d.id, d.newest_version, d.schedule_sequence, false, d.created_at, NULL FROM updraft.dag d
        WHERE d.is_held AND d.is_active AND NOT d.is_paused AND d.newest_version = ANY ($2)
            AND /* unfinished */ < d.max_active_runs
        ORDER BY d.id LIMIT $3)
)
SELECT d.newest_version AS version, p.next_dagrun, p.next_dagrun_data_interval_start, p.next_dagrun_data_interval_end,
    p.next_dagrun_create_after, d.schedule_sequence AS sequence, d.is_paused, last.data_interval_start AS starts,
    last.data_interval_end AS ends, /* unfinished */ AS runs, d.created_at
FROM due d
-- What was planned, unless it is to be planned anew.
LEFT JOIN updraft.dag p ON p.id = d.id AND d.schedule_due_at > 'epoch'
LEFT JOIN LATERAL (
    SELECT r.data_interval_start, r.data_interval_end FROM updraft.dag_run r
    WHERE r.dag = d.id AND r.run_type < 2 ORDER BY r.logical_date DESC LIMIT 1
) last ON true
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, (SELECT d.schedule_due_at FROM updraft.dag d
    WHERE d.schedule_due_at > $1 AND d.is_active AND d.newest_version = ANY ($2) ORDER BY d.schedule_due_at LIMIT 1), NULL, NULL
