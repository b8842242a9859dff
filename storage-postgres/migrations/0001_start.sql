-- Every name stands in the schema `updraft`; another name of the schema is put in its place before a statement is sent.
-- Text is compared byte by byte (COLLATE "C"), as the embedded storage compares it.
-- States of task instances count from 0: none, scheduled, queued, running, success, restarting, failed, up_for_retry,
-- up_for_reschedule, upstream_failed, skipped, deferred, removed. States of runs: queued, running, success, failed.

-- DAGs and what they declare --------------------------------------------------------------------------------------

-- A row is also the lock of the limits of its DAG.
CREATE TABLE updraft.dag (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL DEFAULT '',
    dag_id text COLLATE "C" NOT NULL,
    newest_version bigint NOT NULL,
    is_paused boolean NOT NULL,
    is_active boolean NOT NULL,
    last_parsed_time timestamptz NOT NULL,
    last_expired timestamptz,
    -- Copies of the newest version's, by which lists are filtered and sorted and limits are held.
    fileloc text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    owners text COLLATE "C" NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    max_active_runs bigint NOT NULL,
    max_active_tasks bigint NOT NULL,
    UNIQUE (namespace, dag_id)
) WITH (fillfactor = 70);

CREATE TABLE updraft.dag_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dag int NOT NULL REFERENCES updraft.dag,
    content_hash text NOT NULL,
    -- json rather than jsonb: the order of members is kept.
    definition json NOT NULL
);
CREATE INDEX dag_version_of_dag ON updraft.dag_version (dag, id);

-- What lists and limits ask of a task; the rest is in the definition.
CREATE TABLE updraft.task (
    version bigint NOT NULL,
    ix int NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    pool text COLLATE "C" NOT NULL,
    pool_slots bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    executor text COLLATE "C",
    retries bigint NOT NULL,
    PRIMARY KEY (version, ix),
    UNIQUE (version, task_id)
);

CREATE TABLE updraft.source (
    fileloc text COLLATE "C" PRIMARY KEY,
    content text NOT NULL
);

CREATE TABLE updraft.import_error (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    filename text COLLATE "C" NOT NULL UNIQUE,
    stack_trace text COLLATE "C" NOT NULL,
    "timestamp" timestamptz NOT NULL
);

-- Runs and task instances -----------------------------------------------------------------------------------------

CREATE TABLE updraft.dag_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL DEFAULT gen_random_uuid(),
    dag int NOT NULL,
    dag_version bigint NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    logical_date timestamptz NOT NULL,
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    start_date timestamptz,
    end_date timestamptz,
    last_scheduling_decision timestamptz,
    updated_at timestamptz NOT NULL,
    -- Counts changes from outside the engine.
    version bigint NOT NULL DEFAULT 0,
    owner bigint,
    clear_number int NOT NULL DEFAULT 0,
    run_type smallint NOT NULL,
    state smallint NOT NULL,
    external_trigger boolean NOT NULL,
    was_owned boolean NOT NULL DEFAULT false,
    conf json NOT NULL,
    note text,
    note_user text,
    -- How many of its instances ended in each state; null until the run has ended.
    counts int[],
    -- By text id also where the DAG is not given.
    UNIQUE (run_id, dag),
    UNIQUE (dag, logical_date)
) WITH (fillfactor = 60);
-- The version tells, without a look at the runs, whether anything keeps it.
CREATE INDEX dag_run_of_dag ON updraft.dag_run (dag, id) INCLUDE (dag_version);
-- Three changes in a run's life pay for these; nothing that looks for work reads finished runs.
CREATE INDEX dag_run_waiting ON updraft.dag_run (dag_version, state, id) WHERE owner IS NULL AND state < 2;
CREATE INDEX dag_run_active ON updraft.dag_run (dag) WHERE state = 1 OR (state = 0 AND owner IS NOT NULL);
CREATE INDEX dag_run_owned ON updraft.dag_run (owner, id) WHERE owner IS NOT NULL;
-- Ended runs whose instances still wait for slots: those of a run that somebody marked.
CREATE INDEX dag_run_left_scheduled ON updraft.dag_run (id) WHERE counts[2] > 0;

-- Changes once or twice in its life, and no index knows what changes. While an attempt that counts is live, the
-- attempt's row is the state, and this row is what was before it.
CREATE TABLE updraft.task_instance (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    state smallint NOT NULL,
    is_branched_off boolean NOT NULL DEFAULT false,
    try_number int NOT NULL DEFAULT 0,
    max_tries bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    queued_when timestamptz,
    start_date timestamptz,
    end_date timestamptz,
    due_at timestamptz,
    host int,
    pid int,
    PRIMARY KEY (run, task, map_index)
) WITH (fillfactor = 40);

-- A try goes here when the next begins, or when the instance is cleared.
CREATE TABLE updraft.task_instance_try (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    try_number int NOT NULL,
    state smallint NOT NULL,
    is_branched_off boolean NOT NULL,
    max_tries bigint NOT NULL,
    queued_when timestamptz,
    start_date timestamptz,
    end_date timestamptz,
    host int,
    pid int,
    PRIMARY KEY (run, task, map_index, try_number)
);

CREATE TABLE updraft.task_instance_note (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    content text NOT NULL,
    "user" text,
    PRIMARY KEY (run, task, map_index)
);

-- Of the last try.
CREATE TABLE updraft.rendered_fields (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    fields json NOT NULL,
    PRIMARY KEY (run, task, map_index)
);

-- What a task that succeeded decided on the tasks after it, for whoever takes the run over.
CREATE TABLE updraft.skip_decision (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    skip json NOT NULL,
    PRIMARY KEY (run, task, map_index)
);

CREATE TABLE updraft.xcom (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    key text COLLATE "C" NOT NULL,
    value json NOT NULL,
    "timestamp" timestamptz NOT NULL,
    PRIMARY KEY (run, task, map_index, key)
);

-- Live attempts: the truth about what is queued and running, and about slots, which are counted here.
CREATE TABLE updraft.attempt (
    token uuid PRIMARY KEY,
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    try_number int NOT NULL,
    phase smallint NOT NULL,
    is_obsolete boolean NOT NULL DEFAULT false,
    scheduler bigint NOT NULL,
    epoch bigint NOT NULL,
    host int,
    pid int,
    dag int NOT NULL,
    pool_slots bigint NOT NULL,
    queued_when timestamptz NOT NULL,
    start_date timestamptz,
    -- Null: the scheduler's own lease holds.
    lease_until timestamptz,
    task_id text COLLATE "C" NOT NULL,
    pool text COLLATE "C" NOT NULL,
    executor text COLLATE "C",
    worker text COLLATE "C",
    UNIQUE (run, task, map_index)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000000);
CREATE INDEX attempt_of_dag ON updraft.attempt (dag);
CREATE INDEX attempt_of_pool ON updraft.attempt (pool);
CREATE INDEX attempt_obsolete ON updraft.attempt (scheduler) WHERE is_obsolete;

-- A row is also the lock of its slots.
CREATE TABLE updraft.pool (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    slots int NOT NULL,
    description text COLLATE "C",
    include_deferred boolean NOT NULL
);
INSERT INTO updraft.pool (name, slots, description, include_deferred)
VALUES ('default_pool', 128, 'Default pool', false);

-- Schedulers --------------------------------------------------------------------------------------------------------

CREATE TABLE updraft.host (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hostname text NOT NULL,
    unixname text NOT NULL,
    UNIQUE (hostname, unixname)
);

CREATE TABLE updraft.scheduler (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    epoch bigint NOT NULL,
    host int NOT NULL
);

-- Apart from what fences: writing a batch never waits for a heartbeat.
CREATE TABLE updraft.heartbeat (
    scheduler bigint PRIMARY KEY,
    epoch bigint NOT NULL,
    lease interval NOT NULL,
    -- Null once it has left.
    alive_until timestamptz
) WITH (fillfactor = 20);

-- Each batch of a lane changes its row first: fence and batch number in one.
CREATE TABLE updraft.lane (
    scheduler bigint NOT NULL,
    lane int NOT NULL,
    epoch bigint NOT NULL,
    -- The last batch; null before the first of an epoch.
    sequence bigint,
    -- What became of the last batch other than `Done`, by position.
    verdicts json,
    PRIMARY KEY (scheduler, lane)
) WITH (fillfactor = 10);

-- Runs that a scheduler does not know the present state of.
CREATE TABLE updraft.run_change (
    scheduler bigint NOT NULL,
    run bigint NOT NULL,
    PRIMARY KEY (scheduler, run)
);

-- Task instances as clients see them, a live attempt that counts taken into account. Each join is by a unique key, so
-- whoever asks for some columns pays for these only. A process is known once a try runs; a try that was never admitted
-- ran nowhere, and would run as the user of the newest scheduler.
CREATE VIEW updraft.task_instance_now AS
SELECT i.run, i.task, i.map_index,
    CASE WHEN a.token IS NULL THEN i.state ELSE (2 + a.phase)::smallint END AS state,
    a.token IS NULL AND i.is_branched_off AND i.state = 10 AS is_branched_off,
    CASE WHEN a.token IS NULL THEN i.try_number ELSE a.try_number END AS try_number,
    i.max_tries,
    CASE WHEN a.token IS NULL THEN i.updated_at ELSE COALESCE(a.start_date, a.queued_when) END AS updated_at,
    CASE WHEN a.token IS NULL THEN i.queued_when ELSE a.queued_when END AS queued_when,
    CASE WHEN a.token IS NULL THEN i.start_date ELSE a.start_date END AS start_date,
    CASE WHEN a.token IS NULL THEN i.end_date END AS end_date,
    CASE WHEN a.token IS NULL THEN i.due_at END AS due_at,
    CASE WHEN COALESCE(a.queued_when, i.queued_when) IS NULL THEN '' ELSE COALESCE(h.hostname, '') END AS hostname,
    COALESCE(h.unixname, (
        SELECT newest.unixname FROM updraft.scheduler s JOIN updraft.host newest ON newest.id = s.host
        ORDER BY s.id DESC LIMIT 1
    ), '') AS unixname,
    CASE
        WHEN a.token IS NOT NULL THEN CASE WHEN a.start_date IS NOT NULL THEN a.pid END
        WHEN i.queued_when IS NOT NULL AND i.start_date IS NOT NULL THEN i.pid
    END AS pid,
    n.content AS note, n."user" AS note_user, f.fields AS rendered_fields
FROM updraft.task_instance i
LEFT JOIN updraft.attempt a
    ON a.run = i.run AND a.task = i.task AND a.map_index = i.map_index AND NOT a.is_obsolete
LEFT JOIN updraft.host h ON h.id = CASE WHEN a.token IS NULL THEN i.host ELSE a.host END
LEFT JOIN updraft.task_instance_note n ON n.run = i.run AND n.task = i.task AND n.map_index = i.map_index
LEFT JOIN updraft.rendered_fields f ON f.run = i.run AND f.task = i.task AND f.map_index = i.map_index;

-- Settings, people, what happened -----------------------------------------------------------------------------------

CREATE TABLE updraft.variable (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    value text NOT NULL,
    description text,
    is_encrypted boolean NOT NULL
);

CREATE TABLE updraft.connection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conn_id text COLLATE "C" NOT NULL UNIQUE,
    conn_type text NOT NULL,
    description text,
    host text,
    login text,
    schema text,
    port int,
    password text,
    extra text,
    is_encrypted boolean NOT NULL,
    is_extra_encrypted boolean NOT NULL
);

CREATE TABLE updraft.principal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text COLLATE "C" NOT NULL UNIQUE,
    email text COLLATE "C" NOT NULL UNIQUE,
    first_name text NOT NULL,
    last_name text NOT NULL,
    active boolean NOT NULL,
    roles text[] COLLATE "C" NOT NULL,
    created_on timestamptz NOT NULL,
    changed_on timestamptz NOT NULL
);

CREATE TABLE updraft.credential (
    principal bigint NOT NULL REFERENCES updraft.principal ON DELETE CASCADE,
    kind text COLLATE "C" NOT NULL,
    hash text NOT NULL,
    scope text,
    expires timestamptz,
    PRIMARY KEY (principal, kind)
);

CREATE TABLE updraft.role (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE updraft.permission (
    role bigint NOT NULL REFERENCES updraft.role ON DELETE CASCADE,
    action text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (role, action, resource, namespace)
);

-- Append-only. Entries of tries name their run and task by key; when the run is deleted, they take the names over.
CREATE TABLE updraft.event_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "when" timestamptz NOT NULL,
    run bigint,
    task int,
    map_index int,
    try_number int,
    event text COLLATE "C" NOT NULL,
    dag_id text COLLATE "C",
    task_id text COLLATE "C",
    run_id text COLLATE "C",
    logical_date timestamptz,
    owner text COLLATE "C",
    extra text COLLATE "C"
);
CREATE INDEX event_log_of_run ON updraft.event_log (run) WHERE run IS NOT NULL;
CREATE INDEX event_log_of_dag ON updraft.event_log (dag_id, id) WHERE dag_id IS NOT NULL;

-- Logs of tries, in pieces.
CREATE TABLE updraft.log_chunk (
    run bigint NOT NULL,
    task int NOT NULL,
    map_index int NOT NULL,
    try_number int NOT NULL,
    -- Where the piece starts.
    "offset" bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (run, task, map_index, try_number, "offset")
);
