SELECT fileloc FROM updraft.dag_priority_parsing_request ORDER BY requested_at, fileloc
