SELECT l.event, l.run FROM updraft.dag_run_dataset_event l WHERE l.event = ANY ($1) ORDER BY l.run
