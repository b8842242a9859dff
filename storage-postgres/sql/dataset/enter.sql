-- Makes datasets known, in the order given.
INSERT INTO updraft.dataset (uri, extra, created_at, updated_at)
SELECT uri, extra::json, $3, $3
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS new (uri, extra, place)
WHERE NOT EXISTS (SELECT FROM updraft.dataset d WHERE d.uri = new.uri)
ORDER BY place
ON CONFLICT (uri) DO NOTHING
