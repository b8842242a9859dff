SELECT * FROM updraft.pool WHERE name = $1 FOR UPDATE
