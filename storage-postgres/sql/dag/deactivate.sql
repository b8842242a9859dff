-- While more than one scheduler lives, those that were reported after $3 stay, and are returned.
WITH locked AS MATERIALIZED (
    SELECT id, dag_id, is_active,
        last_parsed_time > $3 AND (SELECT count(*) FROM updraft.heartbeat WHERE alive_until > clock_timestamp()) > 1 AS stays
    FROM updraft.dag WHERE namespace = '' AND dag_id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
), deactivated AS (
    UPDATE updraft.dag SET is_active = false, last_expired = $2
    WHERE id IN (SELECT id FROM locked WHERE is_active AND NOT stays)
)
SELECT dag_id FROM locked WHERE stays ORDER BY dag_id
