SELECT id FROM updraft.dag_run WHERE dag = $1 ORDER BY id FOR UPDATE
