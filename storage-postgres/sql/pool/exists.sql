SELECT EXISTS (SELECT FROM updraft.pool WHERE name = $1)
