-- Runs that started or ended; one that ended belongs to nobody, and says how many of its instances ended in which state.
UPDATE updraft.dag_run r
SET state = c.state, start_date = CASE WHEN c.has_started THEN coalesce(r.start_date, $4) ELSE r.start_date END,
    end_date = CASE WHEN c.state > 1 THEN $4 ELSE r.end_date END, last_scheduling_decision = $4, updated_at = $4,
    owner = CASE WHEN c.state > 1 THEN NULL ELSE r.owner END,
    counts = CASE WHEN c.state > 1 THEN (
        SELECT ARRAY[count(*) FILTER (WHERE i.state = 0), count(*) FILTER (WHERE i.state = 1),
            count(*) FILTER (WHERE i.state = 2), count(*) FILTER (WHERE i.state = 3),
            count(*) FILTER (WHERE i.state = 4), count(*) FILTER (WHERE i.state = 5),
            count(*) FILTER (WHERE i.state = 6), count(*) FILTER (WHERE i.state = 7),
            count(*) FILTER (WHERE i.state = 8), count(*) FILTER (WHERE i.state = 9),
            count(*) FILTER (WHERE i.state = 10), count(*) FILTER (WHERE i.state = 11),
            count(*) FILTER (WHERE i.state = 12)]::int[]
        FROM updraft.task_instance i WHERE i.run = r.id) END
FROM unnest($1::bigint[], $2::smallint[], $3::boolean[]) AS c (id, state, has_started)
CROSS JOIN LATERAL (SELECT o.ctid AS place FROM updraft.dag_run o WHERE o.id = c.id OFFSET 0) o
WHERE r.ctid = o.place
