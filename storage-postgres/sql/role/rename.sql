WITH renamed AS (
    UPDATE updraft.role SET name = $2 WHERE name = $1
), of_tokens AS (
    UPDATE updraft.token SET roles = array_replace(roles, $1, $2) WHERE $1 = ANY (roles)
)
UPDATE updraft.principal SET roles = array_replace(roles, $1, $2) WHERE $1 = ANY (roles)
