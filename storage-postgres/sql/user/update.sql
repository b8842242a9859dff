WITH changed AS (
    UPDATE updraft.principal
    SET username = $2, email = $3, first_name = $4, last_name = $5, active = $6, roles = $7
    WHERE id = $1
)
INSERT INTO updraft.credential (principal, kind, hash) VALUES ($1, 'password', $8)
ON CONFLICT (principal, kind) DO UPDATE SET hash = excluded.hash
