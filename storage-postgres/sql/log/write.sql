-- A piece each of many logs. Pieces that were written already, by a statement whose answer was lost, count as written;
-- left out are those in whose way somebody else's pieces stand, whose run is gone, or before which something is missing since
-- a crash of the server.
INSERT INTO updraft.log_chunk (run, task, map_index, try_number, "offset", content)
SELECT c.run, c.task, c.map_index, c.try_number, c."offset", c.content
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::bytea[])
    AS c (run, task, map_index, try_number, "offset", content)
WHERE EXISTS (SELECT FROM updraft.dag_run r WHERE r.id = c.run)
    AND (c."offset" = 0 OR c."offset" = (
        SELECT p."offset" + length(p.content) FROM updraft.log_chunk p
        WHERE p.run = c.run AND p.task = c.task AND p.map_index = c.map_index AND p.try_number = c.try_number
            AND p."offset" < c."offset"
        ORDER BY p."offset" DESC LIMIT 1
    ))
ON CONFLICT (run, task, map_index, try_number, "offset") DO UPDATE SET content = excluded.content
WHERE log_chunk.content = excluded.content OR log_chunk.content = ''
RETURNING run, task, map_index, try_number
