WITH put AS (
    INSERT INTO updraft.principal (username, email, first_name, last_name, active, roles, created_on, changed_on)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (username) DO UPDATE
    SET (email, first_name, last_name, active, roles, created_on, changed_on)
        = (excluded.email, excluded.first_name, excluded.last_name, excluded.active, excluded.roles,
           excluded.created_on, excluded.changed_on)
    RETURNING id
)
INSERT INTO updraft.credential (principal, kind, hash)
SELECT id, 'password', $9 FROM put
ON CONFLICT (principal, kind) DO UPDATE SET hash = excluded.hash
RETURNING principal
