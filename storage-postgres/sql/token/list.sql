SELECT p.username, t.id AS token, t.name AS token_name, t.roles AS token_roles, t.read_only,
    t.created_on AS token_created_on, t.expires, t.last_used
FROM updraft.token t
JOIN updraft.principal p ON p.id = t.principal
WHERE $1::text IS NULL OR lower(p.username) = lower($1)
ORDER BY t.id
