SELECT r.id, r.name, p.action, p.resource
FROM updraft.role r
LEFT JOIN updraft.permission p ON p.role = r.id
WHERE r.name = $1
ORDER BY p.id
