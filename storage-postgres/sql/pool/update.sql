UPDATE updraft.pool SET name = $2, slots = $3, description = $4, include_deferred = $5 WHERE id = $1
