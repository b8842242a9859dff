INSERT INTO updraft.connection
    (conn_id, conn_type, description, host, login, schema, port, password, extra, is_encrypted, is_extra_encrypted)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (conn_id) DO UPDATE
SET (conn_type, description, host, login, schema, port, password, extra, is_encrypted, is_extra_encrypted)
    = (excluded.conn_type, excluded.description, excluded.host, excluded.login, excluded.schema, excluded.port,
       excluded.password, excluded.extra, excluded.is_encrypted, excluded.is_extra_encrypted)
RETURNING id
