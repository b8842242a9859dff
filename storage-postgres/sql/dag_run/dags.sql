SELECT id FROM updraft.dag WHERE namespace = '' AND dag_id = ANY ($1)
