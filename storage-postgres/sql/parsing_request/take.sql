-- Of two who take at the same time, each leaves to the other what it has.
DELETE FROM updraft.dag_priority_parsing_request
WHERE hash IN (
    SELECT hash
    FROM updraft.dag_priority_parsing_request
    WHERE hash IN (SELECT sha256(convert_to(fileloc, 'UTF8')) FROM unnest($1::text[]) AS wanted (fileloc))
    FOR UPDATE SKIP LOCKED
)
RETURNING fileloc
