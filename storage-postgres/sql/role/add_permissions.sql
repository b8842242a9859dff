INSERT INTO updraft.permission (role, action, resource)
SELECT $1, action, resource
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS new (action, resource, place)
ORDER BY place
ON CONFLICT DO NOTHING
