SELECT id FROM updraft.dag WHERE namespace = '' AND dag_id = $1
