-- The run before a run of a DAG with catchup: manual ones do not count, however many there are.
CREATE INDEX dag_run_automated ON updraft.dag_run (dag, logical_date) WHERE run_type <> 2;
