INSERT INTO updraft.dag_priority_parsing_request (hash, fileloc, requested_at)
VALUES (sha256(convert_to($1, 'UTF8')), $1, $2)
ON CONFLICT DO NOTHING
