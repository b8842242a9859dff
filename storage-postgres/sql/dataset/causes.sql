-- Updates of the datasets that a DAG waits for, until $2 and after its last run before that which updates caused; with the
-- data that the run covers which made the update, or the moment of the update.
WITH last AS MATERIALIZED (
    SELECT coalesce((
        SELECT r.logical_date FROM updraft.dag_run r WHERE r.dag = $1 AND r.logical_date < $2 AND r.run_type = 3
        ORDER BY r.dag, r.logical_date DESC LIMIT 1
    ), '-infinity') AS logical_date
)
SELECT e.id, coalesce(r.data_interval_start, e."timestamp"), coalesce(r.data_interval_end, e."timestamp")
FROM last
CROSS JOIN LATERAL (SELECT o.dataset FROM updraft.dataset_consumer o WHERE o.dag = $1 OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT * FROM updraft.dataset_event o
    WHERE o.dataset = c.dataset AND o."timestamp" > last.logical_date AND o."timestamp" <= $2 OFFSET 0
) e
LEFT JOIN LATERAL (SELECT o.id FROM updraft.dag o WHERE o.namespace = '' AND o.dag_id = e.source_dag_id OFFSET 0) d ON true
LEFT JOIN LATERAL (
    SELECT o.data_interval_start, o.data_interval_end FROM updraft.dag_run o
    WHERE o.run_id = e.source_run_id AND o.dag = d.id OFFSET 0
) r ON true
ORDER BY e.id
