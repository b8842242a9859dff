UPDATE updraft.attempt SET pid = $2 WHERE token = $1 AND NOT is_obsolete
