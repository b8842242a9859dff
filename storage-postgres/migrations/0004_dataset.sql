-- Datasets. One that no DAG uses any more stays, with its events.

CREATE TABLE updraft.dataset (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uri text COLLATE "C" NOT NULL UNIQUE,
    extra json NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Which version's uses of datasets are entered below; null while none are.
ALTER TABLE updraft.dag ADD COLUMN datasets_version bigint;

-- DAGs whose schedules wait for a dataset.
CREATE TABLE updraft.dataset_consumer (
    dataset bigint NOT NULL REFERENCES updraft.dataset,
    dag int NOT NULL REFERENCES updraft.dag ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (dataset, dag)
);
CREATE INDEX dataset_consumer_of_dag ON updraft.dataset_consumer (dag);

-- Tasks that update a dataset.
CREATE TABLE updraft.dataset_producer (
    dataset bigint NOT NULL REFERENCES updraft.dataset,
    dag int NOT NULL REFERENCES updraft.dag ON DELETE CASCADE,
    task_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (dataset, dag, task_id)
);
CREATE INDEX dataset_producer_of_dag ON updraft.dataset_producer (dag);

-- Append-only. The names of the source outlive it; all are null for an update from outside.
CREATE TABLE updraft.dataset_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    source_dag_id text COLLATE "C",
    source_task_id text COLLATE "C",
    source_run_id text COLLATE "C",
    source_map_index int NOT NULL,
    extra json NOT NULL
);
CREATE INDEX dataset_event_by_time ON updraft.dataset_event ("timestamp", id);
CREATE INDEX dataset_event_of_dataset ON updraft.dataset_event (dataset, "timestamp", id);
CREATE INDEX dataset_event_of_source ON updraft.dataset_event (source_dag_id, source_run_id)
    WHERE source_dag_id IS NOT NULL;

-- Updates that wait until the condition of a DAG holds: one of each dataset is enough.
CREATE TABLE updraft.dataset_queue (
    dag int NOT NULL REFERENCES updraft.dag ON DELETE CASCADE,
    dataset bigint NOT NULL REFERENCES updraft.dataset,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (dag, dataset)
);
CREATE INDEX dataset_queue_of_dataset ON updraft.dataset_queue (dataset);

-- The events that caused a run.
CREATE TABLE updraft.dag_run_dataset_event (
    run bigint NOT NULL,
    event bigint NOT NULL,
    PRIMARY KEY (run, event)
);
CREATE INDEX dag_run_dataset_event_of_event ON updraft.dag_run_dataset_event (event);
