-- What is replaced goes, so the id is a new one.
INSERT INTO updraft.variable (key, value, description, is_encrypted)
VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE
SET id = DEFAULT, value = excluded.value, description = excluded.description, is_encrypted = excluded.is_encrypted
RETURNING id
