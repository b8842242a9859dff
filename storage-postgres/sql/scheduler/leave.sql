WITH left_now AS (
    UPDATE updraft.scheduler SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2 RETURNING id
)
UPDATE updraft.heartbeat SET alive_until = NULL FROM left_now WHERE scheduler = left_now.id
