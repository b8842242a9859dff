INSERT INTO updraft.connection
    (conn_id, conn_type, description, host, login, schema, port, password, extra, is_encrypted, is_extra_encrypted)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (conn_id) DO NOTHING
RETURNING id
