WITH made AS (
    INSERT INTO updraft.role (name) SELECT name FROM unnest($1::text[]) WITH ORDINALITY AS new (name, place) ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id, name
)
INSERT INTO updraft.permission (role, action, resource)
SELECT made.id, new.action, new.resource
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS new (role, action, resource, place)
JOIN made ON made.name = new.role
ORDER BY new.place
