-- Instances of these runs have changed; those that have ended count theirs again.
UPDATE updraft.dag_run r
SET counts = (
    SELECT ARRAY[count(*) FILTER (WHERE i.state = 0), count(*) FILTER (WHERE i.state = 1),
        count(*) FILTER (WHERE i.state = 2), count(*) FILTER (WHERE i.state = 3),
        count(*) FILTER (WHERE i.state = 4), count(*) FILTER (WHERE i.state = 5),
        count(*) FILTER (WHERE i.state = 6), count(*) FILTER (WHERE i.state = 7),
        count(*) FILTER (WHERE i.state = 8), count(*) FILTER (WHERE i.state = 9),
        count(*) FILTER (WHERE i.state = 10), count(*) FILTER (WHERE i.state = 11),
        count(*) FILTER (WHERE i.state = 12)]::int[]
    FROM updraft.task_instance i WHERE i.run = r.id)
WHERE r.id = ANY ($1) AND r.counts IS NOT NULL
