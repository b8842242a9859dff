SELECT run FROM updraft.run_change WHERE scheduler = $1 ORDER BY run
