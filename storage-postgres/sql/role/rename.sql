WITH renamed AS (
    UPDATE updraft.role SET name = $2 WHERE name = $1
), of_tokens AS (
    UPDATE updraft.token SET roles = array_replace(roles, $1, $2) WHERE $1 = ANY (roles)
)
-- In one order, as logins are counted.
UPDATE updraft.principal SET roles = array_replace(roles, $1, $2)
WHERE id IN (SELECT id FROM updraft.principal WHERE $1 = ANY (roles) ORDER BY id FOR UPDATE)
