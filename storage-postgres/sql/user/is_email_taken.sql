SELECT EXISTS (SELECT FROM updraft.principal WHERE email = $1)
