SELECT p.*, c.hash, t.id AS token, t.name AS token_name, t.roles AS token_roles, t.read_only,
    t.created_on AS token_created_on, t.expires, t.last_used
FROM updraft.token t
JOIN updraft.principal p ON p.id = t.principal
LEFT JOIN updraft.credential c ON c.principal = p.id AND c.kind = 'password'
WHERE t.hash = $1
