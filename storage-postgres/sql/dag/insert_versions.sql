INSERT INTO updraft.dag_version (dag, content_hash, definition)
SELECT dag, content_hash, definition::json
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY AS new (dag, content_hash, definition, place)
ORDER BY place
RETURNING id, dag
