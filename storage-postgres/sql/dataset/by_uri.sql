SELECT id, uri, extra, created_at, updated_at FROM updraft.dataset WHERE uri = $1
