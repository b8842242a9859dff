WITH taken AS (
    UPDATE updraft.principal SET roles = array_remove(roles, $1) WHERE $1 = ANY (roles)
)
DELETE FROM updraft.role WHERE name = $1
