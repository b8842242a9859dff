-- Runs are found by their uid.
CREATE INDEX dag_run_by_uid ON updraft.dag_run (uid);
