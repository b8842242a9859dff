SELECT * FROM updraft.variable WHERE key = $1
