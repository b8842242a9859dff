UPDATE updraft.dataset SET updated_at = $2 WHERE uri = ANY ($1) AND updated_at < $2
