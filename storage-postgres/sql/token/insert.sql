INSERT INTO updraft.token (principal, hash, name, roles, read_only, created_on, expires)
SELECT id, $2, $3, $4, $5, $6, $7 FROM updraft.principal WHERE lower(username) = lower($1)
RETURNING id, (SELECT username FROM updraft.principal p WHERE p.id = principal) AS username
