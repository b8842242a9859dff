INSERT INTO updraft.variable (key, value, description, is_encrypted)
VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, description = excluded.description, is_encrypted = excluded.is_encrypted
RETURNING id
