-- What tries left for others, and where it is said so, what belongs to the last try only.
WITH k AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::boolean[]) AS k (run, task, map_index, with_fields)
), values_gone AS (
    DELETE FROM updraft.xcom WHERE ctid = ANY (ARRAY(
        SELECT o.place FROM k CROSS JOIN LATERAL (
            SELECT o.ctid AS place FROM updraft.xcom o
            WHERE o.run = k.run AND o.task = k.task AND o.map_index = k.map_index OFFSET 0
        ) o))
), fields_gone AS (
    DELETE FROM updraft.rendered_fields WHERE ctid = ANY (ARRAY(
        SELECT o.place FROM k CROSS JOIN LATERAL (
            SELECT o.ctid AS place FROM updraft.rendered_fields o
            WHERE o.run = k.run AND o.task = k.task AND o.map_index = k.map_index OFFSET 0
        ) o WHERE k.with_fields))
)
DELETE FROM updraft.skip_decision WHERE ctid = ANY (ARRAY(
        SELECT o.place FROM k CROSS JOIN LATERAL (
            SELECT o.ctid AS place FROM updraft.skip_decision o
            WHERE o.run = k.run AND o.task = k.task AND o.map_index = k.map_index OFFSET 0
        ) o))
