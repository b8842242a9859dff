SELECT p.*, c.hash
FROM updraft.principal p
LEFT JOIN updraft.credential c ON c.principal = p.id AND c.kind = 'password'
WHERE lower(p.username) = lower($1) OR p.email = $1
ORDER BY lower(p.username) = lower($1) DESC
LIMIT 1
