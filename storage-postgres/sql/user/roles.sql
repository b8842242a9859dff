SELECT r.name, p.action, p.resource
FROM updraft.role r
LEFT JOIN updraft.permission p ON p.role = r.id
ORDER BY r.name
