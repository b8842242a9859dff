-- Forgets what is queued for a DAG, and says what that was.
WITH taken AS (
    DELETE FROM updraft.dataset_queue WHERE dag = $1 RETURNING dataset, created_at
)
SELECT d.uri, t.created_at
FROM taken t CROSS JOIN LATERAL (SELECT o.uri FROM updraft.dataset o WHERE o.id = t.dataset OFFSET 0) d
