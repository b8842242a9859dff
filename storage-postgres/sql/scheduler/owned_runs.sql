SELECT id FROM updraft.dag_run WHERE owner = $1 ORDER BY id
