INSERT INTO updraft.permission (role, action, resource)
SELECT r.id, new.action, new.resource
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS new (role, action, resource, place)
JOIN updraft.role r ON r.name = new.role
ORDER BY new.place
ON CONFLICT DO NOTHING
