DELETE FROM updraft.principal WHERE username = $1
