SELECT p.*, c.hash
FROM updraft.principal p
LEFT JOIN updraft.credential c ON c.principal = p.id AND c.kind = 'password'
WHERE lower(p.username) = lower($1)
