WITH taken AS (
    -- In one order, as logins are counted.
    UPDATE updraft.principal SET roles = array_remove(roles, $1)
    WHERE id IN (SELECT id FROM updraft.principal WHERE $1 = ANY (roles) ORDER BY id FOR UPDATE)
)
DELETE FROM updraft.role WHERE name = $1
