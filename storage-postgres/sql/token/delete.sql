DELETE FROM updraft.token WHERE id = $1
