INSERT INTO updraft.host (hostname, unixname) VALUES ($1, $2)
ON CONFLICT (hostname, unixname) DO UPDATE SET hostname = excluded.hostname RETURNING id
