WITH locked AS MATERIALIZED (
    SELECT id FROM updraft.dag WHERE namespace = '' AND dag_id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
)
UPDATE updraft.dag
SET is_paused = $2,
    schedule_due_at = CASE WHEN is_timed AND NOT $2 THEN timestamptz 'epoch' ELSE schedule_due_at END,
    is_held = is_held AND $2
WHERE id IN (SELECT id FROM locked)
