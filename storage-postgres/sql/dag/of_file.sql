SELECT dag_id FROM updraft.dag WHERE namespace = '' AND fileloc = $1 ORDER BY dag_id
