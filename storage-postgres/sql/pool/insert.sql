INSERT INTO updraft.pool (name, slots, description, include_deferred)
VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING
