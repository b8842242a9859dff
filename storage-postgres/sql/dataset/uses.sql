-- Who waits for datasets (without a task) and who updates them.
SELECT c.dataset, d.dag_id, NULL AS task_id, c.created_at
FROM updraft.dataset_consumer c JOIN updraft.dag d ON d.id = c.dag WHERE c.dataset = ANY ($1)
UNION ALL
SELECT p.dataset, d.dag_id, p.task_id, p.created_at
FROM updraft.dataset_producer p JOIN updraft.dag d ON d.id = p.dag WHERE p.dataset = ANY ($1)
ORDER BY dag_id, task_id
