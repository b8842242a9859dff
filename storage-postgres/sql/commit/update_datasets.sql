-- Updates of datasets in the order given, queued for the active DAGs that wait for them and are not paused; how many wait that
-- did not wait before. DAGs that are being deleted are waited for, and then have no row.
WITH updated AS MATERIALIZED (
    SELECT d.id AS dataset, u.*
    FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::int[], $7::text[]) WITH ORDINALITY
        AS u (uri, dag_id, task_id, run, map_index, extra, place)
    CROSS JOIN LATERAL (SELECT o.id FROM updraft.dataset o WHERE o.uri = u.uri OFFSET 0) d
), consumed AS MATERIALIZED (
    SELECT c.dag, c.dataset
    FROM (SELECT DISTINCT dataset FROM updated) u
    CROSS JOIN LATERAL (SELECT o.dag, o.dataset FROM updraft.dataset_consumer o WHERE o.dataset = u.dataset OFFSET 0) c
), waiting AS MATERIALIZED (
    SELECT d.id FROM updraft.dag d
    WHERE d.id IN (SELECT dag FROM consumed) AND d.is_active AND NOT d.is_paused
    ORDER BY d.id FOR KEY SHARE OF d
), queued AS (
    INSERT INTO updraft.dataset_queue (dag, dataset, created_at)
    SELECT c.dag, c.dataset, $1 FROM consumed c WHERE c.dag IN (SELECT id FROM waiting) ORDER BY c.dag, c.dataset
    ON CONFLICT (dag, dataset) DO NOTHING
    RETURNING 1
), written AS (
    INSERT INTO updraft.dataset_event
        (dataset, "timestamp", source_dag_id, source_task_id, source_run_id, source_map_index, extra)
    SELECT u.dataset, $1, u.dag_id, u.task_id, r.run_id, u.map_index, u.extra::json
    FROM updated u
    CROSS JOIN LATERAL (SELECT o.run_id FROM updraft.dag_run o WHERE o.id = u.run OFFSET 0) r
    ORDER BY u.place
)
SELECT count(*) FROM queued
