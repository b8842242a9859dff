SELECT EXISTS (SELECT FROM updraft.scheduler WHERE id = $1 AND epoch = $2)
