DELETE FROM updraft.run_change WHERE scheduler = $1 AND run = ANY ($2)
