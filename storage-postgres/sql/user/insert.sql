WITH made AS (
    INSERT INTO updraft.principal (username, email, first_name, last_name, active, roles, created_on, changed_on)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING id
)
INSERT INTO updraft.credential (principal, kind, hash) SELECT id, 'password', $9 FROM made
RETURNING principal
