-- What clients changed of runs; a finished one counts its instances, one that goes on does not.
UPDATE updraft.dag_run r
SET state = c.state, owner = c.owner, start_date = c.start_date, end_date = c.end_date, queued_at = c.queued_at,
    last_scheduling_decision = c.last_scheduling_decision, clear_number = c.clear_number, version = c.version,
    updated_at = $10,
    counts = CASE WHEN c.state > 1 THEN (
        SELECT ARRAY[count(*) FILTER (WHERE i.state = 0), count(*) FILTER (WHERE i.state = 1),
            count(*) FILTER (WHERE i.state = 2), count(*) FILTER (WHERE i.state = 3),
            count(*) FILTER (WHERE i.state = 4), count(*) FILTER (WHERE i.state = 5),
            count(*) FILTER (WHERE i.state = 6), count(*) FILTER (WHERE i.state = 7),
            count(*) FILTER (WHERE i.state = 8), count(*) FILTER (WHERE i.state = 9),
            count(*) FILTER (WHERE i.state = 10), count(*) FILTER (WHERE i.state = 11),
            count(*) FILTER (WHERE i.state = 12)]::int[]
        FROM updraft.task_instance i WHERE i.run = r.id) END
FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::timestamptz[], $8::int[], $9::bigint[])
    AS c (id, state, owner, start_date, end_date, queued_at, last_scheduling_decision, clear_number, version)
CROSS JOIN LATERAL (SELECT o.ctid AS place FROM updraft.dag_run o WHERE o.id = c.id OFFSET 0) o
WHERE r.ctid = o.place
