-- The update locks the role's permissions.
INSERT INTO updraft.role (name) VALUES ($1)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id
