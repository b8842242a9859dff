DELETE FROM updraft.pool WHERE name = $1
