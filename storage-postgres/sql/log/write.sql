-- A piece each of many logs. Pieces that were written already, by a statement whose answer was lost, count as written;
-- those that somebody else's pieces stand in the way of, or whose run is gone, are left out.
INSERT INTO updraft.log_chunk (run, task, map_index, try_number, "offset", content)
SELECT c.run, c.task, c.map_index, c.try_number, c."offset", c.content
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::bytea[])
    AS c (run, task, map_index, try_number, "offset", content)
WHERE EXISTS (SELECT FROM updraft.dag_run r WHERE r.id = c.run)
ON CONFLICT (run, task, map_index, try_number, "offset") DO UPDATE SET content = excluded.content
WHERE log_chunk.content = excluded.content OR log_chunk.content = ''
RETURNING run, task, map_index, try_number
