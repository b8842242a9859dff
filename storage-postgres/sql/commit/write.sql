-- Attempts that ended, instances that changed, attempts that were admitted, and the event log. An instance's next attempt
-- may take the place of one that goes in the same statement, so those go first. Here and elsewhere, `LATERAL … OFFSET 0`
-- has each instance found by its key: a plan that was made while the table was small would otherwise read all of it.
WITH gone AS (
    DELETE FROM updraft.attempt WHERE token = ANY ($4) RETURNING 1
), changed AS (
    UPDATE updraft.task_instance i
    SET state = c.state, is_branched_off = c.is_branched_off, try_number = c.try_number, max_tries = coalesce(c.max_tries, i.max_tries),
        queued_when = c.queued_when, start_date = c.start_date, end_date = c.end_date, due_at = c.due_at,
        host = c.host, pid = c.pid, updated_at = $1
    FROM unnest($5::bigint[], $6::int[], $7::int[], $8::smallint[], $9::boolean[], $10::int[], $11::bigint[],
        $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[], $16::int[], $17::int[])
        AS c (run, task, map_index, state, is_branched_off, try_number, max_tries, queued_when, start_date, end_date,
            due_at, host, pid)
    CROSS JOIN LATERAL (
        SELECT o.ctid AS place FROM updraft.task_instance o
        WHERE o.run = c.run AND o.task = c.task AND o.map_index = c.map_index OFFSET 0
    ) o
    WHERE i.ctid = o.place
), born AS (
    INSERT INTO updraft.attempt (token, run, task, map_index, try_number, phase, start_date, host, pid, dag, pool_slots,
        task_id, pool, executor, scheduler, epoch, queued_when)
    SELECT b.*, $2, $3, $1
    FROM unnest($18::uuid[], $19::bigint[], $20::int[], $21::int[], $22::int[], $23::smallint[], $24::timestamptz[],
        $25::int[], $26::int[], $27::int[], $28::bigint[], $29::text[], $30::text[], $31::text[]) AS b
    WHERE (SELECT count(*) FROM gone) >= 0
)
INSERT INTO updraft.event_log ("when", run, task, map_index, try_number, event)
SELECT * FROM unnest($32::timestamptz[], $33::bigint[], $34::int[], $35::int[], $36::int[], $37::text[])
