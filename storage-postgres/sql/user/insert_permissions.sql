INSERT INTO updraft.permission (role, action, resource)
SELECT $1, action, resource FROM unnest($2::text[], $3::text[]) AS new (action, resource)
