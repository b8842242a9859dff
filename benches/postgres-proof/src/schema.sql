-- Lean tables for the hot path: no index on a column that changes, room for HOT updates.
CREATE TABLE scheduler (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, epoch bigint NOT NULL);
CREATE TABLE lane (scheduler bigint, lane int, epoch bigint NOT NULL, seq bigint NOT NULL, PRIMARY KEY (scheduler, lane))
    WITH (fillfactor = 10);
CREATE TABLE pool (id int PRIMARY KEY, name text NOT NULL UNIQUE, slots int NOT NULL);
CREATE TABLE dag (id int PRIMARY KEY, dag_id text NOT NULL UNIQUE, is_paused bool NOT NULL, max_active_runs int NOT NULL,
    max_active_tasks int NOT NULL);
-- What does not change during a run.
CREATE TABLE dag_version (id bigint PRIMARY KEY, dag int NOT NULL);
CREATE TABLE task (version bigint, ix int, pool int NOT NULL, pool_slots int NOT NULL, retries int NOT NULL,
    PRIMARY KEY (version, ix));
CREATE TABLE dag_run (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, dag int NOT NULL, dag_version bigint NOT NULL,
    run_id text NOT NULL, logical_date timestamptz NOT NULL, state smallint NOT NULL, owner bigint, was_owned bool NOT NULL
    DEFAULT false, version bigint NOT NULL DEFAULT 0, queued_at timestamptz NOT NULL, start_date timestamptz,
    end_date timestamptz, UNIQUE (dag, run_id), UNIQUE (dag, logical_date)) WITH (fillfactor = 50);
CREATE INDEX live_run ON dag_run (id) WHERE state < 2;
CREATE TABLE task_instance (run bigint, task int, map_index int, state smallint NOT NULL, try_number int NOT NULL,
    max_tries int NOT NULL, queued_when timestamptz, start_date timestamptz, end_date timestamptz, due_at timestamptz,
    PRIMARY KEY (run, task, map_index)) WITH (fillfactor = 50);
-- While an attempt lives, its row is the state.
CREATE TABLE attempt (token uuid PRIMARY KEY, run bigint NOT NULL, task int NOT NULL, map_index int NOT NULL,
    try_number int NOT NULL, phase smallint NOT NULL, scheduler bigint NOT NULL, is_obsolete bool NOT NULL, dag int NOT NULL,
    pool int NOT NULL, slots int NOT NULL, queued_when timestamptz NOT NULL, start_date timestamptz)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
-- One row a batch.
CREATE TABLE event_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, runs bigint[] NOT NULL,
    tasks int[] NOT NULL, map_indexes int[] NOT NULL, tries int[] NOT NULL, events smallint[] NOT NULL);
INSERT INTO pool VALUES (1, 'default_pool', 10000);
