INSERT INTO updraft.source (fileloc, content)
SELECT fileloc, content FROM unnest($1::text[], $2::text[]) AS new (fileloc, content) ORDER BY fileloc COLLATE "C"
ON CONFLICT (fileloc) DO UPDATE SET content = excluded.content WHERE source.content <> excluded.content
