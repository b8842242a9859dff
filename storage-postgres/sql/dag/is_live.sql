SELECT EXISTS (SELECT FROM updraft.attempt WHERE dag = $1)
