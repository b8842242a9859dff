DELETE FROM updraft.dag_version WHERE dag = $1 RETURNING id
