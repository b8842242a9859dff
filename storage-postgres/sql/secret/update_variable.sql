UPDATE updraft.variable SET value = $2, description = $3, is_encrypted = $4 WHERE id = $1
