-- Gives those that are not known.
WITH locked AS MATERIALIZED (
    SELECT id, dag_id FROM updraft.dag WHERE namespace = '' AND dag_id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
), reported AS (
    UPDATE updraft.dag
    SET is_active = true, last_parsed_time = $2,
        schedule_due_at = CASE WHEN is_timed AND NOT is_active THEN timestamptz 'epoch' ELSE schedule_due_at END
    WHERE id IN (SELECT id FROM locked)
)
SELECT DISTINCT given.dag_id FROM unnest($1::text[]) AS given (dag_id)
WHERE given.dag_id COLLATE "C" NOT IN (SELECT dag_id FROM locked) ORDER BY given.dag_id
