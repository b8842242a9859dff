-- DAGs ($1) wait for the datasets that they name ($2, $3) and for no others.
WITH wanted AS (
    SELECT new.dag, d.id AS dataset
    FROM unnest($2::int[], $3::text[]) AS new (dag, uri) JOIN updraft.dataset d ON d.uri = new.uri
), gone AS (
    DELETE FROM updraft.dataset_consumer c
    WHERE c.dag = ANY ($1) AND NOT EXISTS (SELECT FROM wanted w WHERE w.dag = c.dag AND w.dataset = c.dataset)
    RETURNING c.dag, c.dataset
), unqueued AS (
    DELETE FROM updraft.dataset_queue q USING gone WHERE q.dag = gone.dag AND q.dataset = gone.dataset
)
INSERT INTO updraft.dataset_consumer (dataset, dag, created_at)
SELECT dataset, dag, $4 FROM wanted ON CONFLICT (dataset, dag) DO NOTHING
