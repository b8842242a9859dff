SELECT * FROM updraft.variable WHERE id > $1 ORDER BY id LIMIT $2
