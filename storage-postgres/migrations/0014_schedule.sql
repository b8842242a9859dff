-- Where the schedules of DAGs stand.

ALTER TABLE updraft.dag
    -- When it was first made known.
    ADD COLUMN created_at timestamptz,
    -- Whether the newest version makes runs by time.
    ADD COLUMN is_timed boolean NOT NULL DEFAULT false,
    -- Grows with each change of the schedule.
    ADD COLUMN schedule_sequence bigint NOT NULL DEFAULT 0,
    -- When it is to be looked at; null: never by itself.
    ADD COLUMN schedule_due_at timestamptz,
    -- It waits until fewer runs than allowed have not ended.
    ADD COLUMN is_held boolean NOT NULL DEFAULT false,
    -- The next run; all null if there is none.
    ADD COLUMN next_dagrun timestamptz,
    ADD COLUMN next_dagrun_data_interval_start timestamptz,
    ADD COLUMN next_dagrun_data_interval_end timestamptz,
    ADD COLUMN next_dagrun_create_after timestamptz;
CREATE INDEX dag_due ON updraft.dag (schedule_due_at) WHERE schedule_due_at IS NOT NULL AND is_active;
CREATE INDEX dag_held ON updraft.dag (id) WHERE is_held AND is_active;

UPDATE updraft.dag SET created_at = last_parsed_time;
ALTER TABLE updraft.dag ALTER COLUMN created_at SET NOT NULL;
UPDATE updraft.dag d
SET is_timed = true, schedule_due_at = 'epoch'
FROM updraft.dag_version v
WHERE v.id = d.newest_version AND v.definition -> 'schedule' ->> 'kind' NOT IN ('none', 'datasets');

-- Queued runs of a DAG start by logical date.
DROP INDEX updraft.dag_run_waiting;
CREATE INDEX dag_run_waiting ON updraft.dag_run (dag_version, state, logical_date, id) WHERE owner IS NULL AND state < 2;

-- Runs that nobody triggered by hand: the latest scheduled or backfilled one tells where a schedule goes on, and with catchup the
-- one before a run is what its tasks depend on.
CREATE INDEX dag_run_automated ON updraft.dag_run (dag, logical_date) WHERE run_type <> 2;
