WITH own AS (
    SELECT id FROM updraft.dag_run WHERE owner = $1 ORDER BY id FOR NO KEY UPDATE
), forgotten AS (
    DELETE FROM updraft.run_change WHERE scheduler = $1
)
UPDATE updraft.dag_run SET owner = NULL WHERE id = ANY (ARRAY(SELECT id FROM own))
