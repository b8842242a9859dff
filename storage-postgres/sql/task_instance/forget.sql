-- What tries left for others, and where it is said so, what belongs to the last try only.
WITH k AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::boolean[]) AS k (run, task, map_index, with_fields)
), values_gone AS (
    DELETE FROM updraft.xcom x USING k WHERE x.run = k.run AND x.task = k.task AND x.map_index = k.map_index
), fields_gone AS (
    DELETE FROM updraft.rendered_fields f USING k
    WHERE f.run = k.run AND f.task = k.task AND f.map_index = k.map_index AND k.with_fields
)
DELETE FROM updraft.skip_decision s USING k WHERE s.run = k.run AND s.task = k.task AND s.map_index = k.map_index
