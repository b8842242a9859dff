DELETE FROM updraft.permission p
USING unnest($2::text[], $3::text[]) AS old (action, resource)
WHERE p.role = $1 AND p.action = old.action AND p.resource = old.resource
