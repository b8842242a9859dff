-- Notes which updates caused a run.
INSERT INTO updraft.dag_run_dataset_event (run, event) SELECT $1, event FROM unnest($2::bigint[]) AS event
