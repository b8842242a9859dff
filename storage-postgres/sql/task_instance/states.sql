-- Where instances stand, in the order given.
SELECT i.state
FROM unnest($1::bigint[], $2::int[], $3::int[]) WITH ORDINALITY AS k (run, task, map_index, place)
LEFT JOIN LATERAL (
    SELECT n.state FROM updraft.task_instance_now n
    WHERE n.run = k.run AND n.task = k.task AND n.map_index = k.map_index OFFSET 0
) i ON true
ORDER BY k.place
