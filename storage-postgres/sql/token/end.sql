DELETE FROM updraft.token WHERE principal = $1
