-- A part of each of some runs.
SELECT
    i.run, i.task, i.map_index, i.state, i.is_branched_off, i.try_number, i.max_tries, i.queued_when, i.start_date, i.end_date,
    i.due_at, i.hostname, i.unixname, i.pid, i.note, i.note_user, i.rendered_fields
FROM (
    SELECT own.*
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS part (run, skipped, taken)
    CROSS JOIN LATERAL (
        SELECT i.run, i.task, i.map_index
        FROM updraft.task_instance i
        WHERE i.run = part.run
            AND ($4::smallint[] IS NULL OR COALESCE((
                SELECT 2 + a.phase FROM updraft.attempt a
                WHERE a.run = i.run AND a.task = i.task AND a.map_index = i.map_index AND NOT a.is_obsolete
            ), i.state) = ANY ($4))
            AND (
                $5::text[] IS NULL AND $6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL
                OR i.task = ANY (ARRAY(
                    SELECT t.ix FROM updraft.dag_run r JOIN updraft.task t ON t.version = r.dag_version
                    WHERE r.id = part.run
                        AND ($5::text[] IS NULL OR t.task_id = ANY ($5))
                        AND ($6::text[] IS NULL OR t.pool = ANY ($6))
                        AND ($7::text[] IS NULL OR t.queue = ANY ($7))
                        AND ($8::text[] IS NULL OR t.executor = ANY ($8))
                ))
            )
        ORDER BY i.task, i.map_index
        LIMIT part.taken OFFSET part.skipped
    ) AS own
) AS k
CROSS JOIN LATERAL (
    SELECT *
    FROM updraft.task_instance_now i
    WHERE i.run = k.run AND i.task = k.task AND i.map_index = k.map_index
    -- By its key each, however unequal runs are.
    OFFSET 0
) AS i
ORDER BY k.run, k.task, k.map_index
