SELECT * FROM updraft.connection WHERE id > $1 ORDER BY id LIMIT $2
