-- Runs in the order given; those whose date or id is taken are left out. The first runs of a DAG for which there is room
-- belong to the session $12 of the epoch $13 at once, if it runs their version and nothing waits before them.
WITH n AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[],
        $6::smallint[], $7::smallint[], $8::boolean[], $9::text[], $10::text[], $11::text[], $16::uuid[]) WITH ORDINALITY
        AS n (dag_version, run_id, logical_date, data_interval_start, data_interval_end, run_type, state,
            external_trigger, conf, note, note_user, uid, place)
), dags AS (
    -- Whoever deletes the DAG waits, or has deleted it.
    SELECT d.id, d.is_paused, d.max_active_runs FROM updraft.dag d
    WHERE d.id IN (SELECT v.dag FROM updraft.dag_version v WHERE v.id = ANY ($1)) ORDER BY d.id FOR KEY SHARE
), versions AS (
    -- So does whoever deletes a version that nothing has.
    SELECT v.id, v.dag FROM updraft.dag_version v WHERE v.id = ANY ($1) ORDER BY v.id FOR KEY SHARE
), session AS (
    SELECT id FROM updraft.scheduler WHERE id = $12 AND epoch = $13 FOR SHARE
), room AS MATERIALIZED (
    SELECT d.id AS dag, CASE WHEN d.is_paused OR NOT EXISTS (SELECT FROM session) THEN 0 ELSE d.max_active_runs - (
        SELECT count(*) FROM updraft.dag_run a WHERE a.dag = d.id AND (a.state = 1 OR (a.state = 0 AND a.owner IS NOT NULL)))
    END AS runs
    FROM dags d
)
INSERT INTO updraft.dag_run (dag, dag_version, run_id, logical_date, data_interval_start, data_interval_end, run_type,
    state, external_trigger, conf, note, note_user, uid, queued_at, updated_at, start_date, owner, was_owned)
SELECT v.dag, n.dag_version, n.run_id, n.logical_date, n.data_interval_start, n.data_interval_end, n.run_type,
    n.state, n.external_trigger, n.conf::json, n.note, n.note_user, n.uid, $14::timestamptz, $14,
    CASE WHEN n.state = 1 THEN $14 END,
    CASE WHEN o.is_owned THEN $12 END, o.is_owned
FROM n
JOIN versions v ON v.id = n.dag_version
JOIN room ON room.dag = v.dag
CROSS JOIN LATERAL (SELECT n.state = 0 AND n.place <= room.runs AND n.dag_version = ANY ($15)
    AND n.logical_date <= clock_timestamp()
    AND NOT EXISTS (SELECT FROM updraft.dag_run w WHERE w.dag_version = n.dag_version AND w.owner IS NULL AND w.state < 2)
    AS is_owned) o
ORDER BY n.place
ON CONFLICT DO NOTHING
RETURNING id, dag, run_id, owner
