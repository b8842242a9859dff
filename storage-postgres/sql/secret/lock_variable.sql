SELECT * FROM updraft.variable WHERE key = $1 FOR UPDATE
