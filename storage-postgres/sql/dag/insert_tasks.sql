INSERT INTO updraft.task (version, ix, task_id, owner, pool, pool_slots, queue, executor, retries)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
                     $9::bigint[])
