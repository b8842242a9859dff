SELECT * FROM updraft.pool WHERE name = ANY ($1) ORDER BY id FOR UPDATE
