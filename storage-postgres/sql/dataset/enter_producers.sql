-- Tasks of DAGs ($1) update the datasets that they name ($2 to $4) and no others. The version whose datasets these are is
-- noted ($5).
WITH wanted AS (
    SELECT new.dag, new.task_id, d.id AS dataset
    FROM unnest($2::int[], $3::text[], $4::text[]) AS new (dag, task_id, uri) JOIN updraft.dataset d ON d.uri = new.uri
), gone AS (
    DELETE FROM updraft.dataset_producer p
    WHERE p.dag = ANY ($1) AND NOT EXISTS (
        SELECT FROM wanted w WHERE w.dag = p.dag AND w.task_id = p.task_id AND w.dataset = p.dataset
    )
), noted AS (
    UPDATE updraft.dag d SET datasets_version = new.version
    FROM unnest($1::int[], $5::bigint[]) AS new (dag, version) WHERE d.id = new.dag
)
INSERT INTO updraft.dataset_producer (dataset, dag, task_id, created_at)
SELECT dataset, dag, task_id, $6 FROM wanted ON CONFLICT (dataset, dag, task_id) DO NOTHING
