WITH taken AS (
    UPDATE updraft.dag_run SET owner = $1, was_owned = true, version = version + was_owned::int
    WHERE id = ANY ($2)
    RETURNING id
)
DELETE FROM updraft.run_change WHERE scheduler = $1 AND run IN (SELECT id FROM taken)
