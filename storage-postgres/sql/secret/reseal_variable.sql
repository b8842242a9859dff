UPDATE updraft.variable SET value = $4, is_encrypted = $5 WHERE id = $1 AND value = $2 AND is_encrypted = $3
