UPDATE updraft.connection
SET (conn_type, description, host, login, schema, port, password, extra, is_encrypted, is_extra_encrypted)
    = ROW ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
WHERE conn_id = $1
