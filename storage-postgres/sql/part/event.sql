e.id, e."when", e.event, COALESCE(e.dag_id, d.dag_id) AS dag_id, COALESCE(e.task_id, t.task_id) AS task_id,
    COALESCE(e.run_id, r.run_id) AS run_id, e.map_index, e.try_number,
    COALESCE(e.logical_date, r.logical_date) AS logical_date, COALESCE(e.owner, t.owner) AS owner, e.extra
