DELETE FROM updraft.principal WHERE lower(username) = lower($1)
