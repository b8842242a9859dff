-- Entries of tries take their names from their run. A DAG or run that a filter names is looked up first: its entries are found
-- by index. The page is chosen by what filters and orders need, other joins fall away; then it is read wholly.
WITH page AS (
    SELECT id
    FROM (
        SELECT e.id, e."when", e.event, COALESCE(e.dag_id, d.dag_id) AS dag_id, COALESCE(e.task_id, t.task_id) AS task_id,
               COALESCE(e.run_id, r.run_id) AS run_id, e.map_index, e.try_number,
               COALESCE(e.logical_date, r.logical_date) AS logical_date, COALESCE(e.owner, t.owner) AS owner, e.extra
        FROM updraft.event_log e
        LEFT JOIN updraft.dag_run r ON r.id = e.run
        LEFT JOIN updraft.dag d ON d.id = r.dag
        LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = e.task
        WHERE ($1::text IS NULL OR e.dag_id = $1 OR e.run = ANY (ARRAY(
                  SELECT dr.id FROM updraft.dag_run dr JOIN updraft.dag dd ON dd.id = dr.dag
                  WHERE dd.dag_id = $1 AND ($2::text IS NULL OR dr.run_id = $2))))
          AND ($2::text IS NULL OR e.run_id = $2 OR e.run = ANY (ARRAY(
                  SELECT dr.id FROM updraft.dag dd JOIN updraft.dag_run dr ON dr.dag = dd.id AND dr.run_id = $2
                  WHERE $1::text IS NULL OR dd.dag_id = $1)))
          AND ($3::text IS NULL OR COALESCE(e.task_id, t.task_id) = $3)
          AND ($4::int IS NULL OR e.map_index = $4)
          AND ($5::bigint IS NULL OR e.try_number = $5)
          AND ($6::text IS NULL OR e.event = $6)
          AND ($7::text IS NULL OR COALESCE(e.owner, t.owner) = $7)
          AND ($8::timestamptz IS NULL OR e."when" < $8)
          AND ($9::timestamptz IS NULL OR e."when" > $9)
          AND ($10::text[] IS NULL OR e.event = ANY ($10))
          AND ($11::text[] IS NULL OR e.event <> ALL ($11))
          AND ($12::text[] IS NULL OR COALESCE(e.dag_id, d.dag_id) IS NULL OR COALESCE(e.dag_id, d.dag_id) = ANY ($12))
    ) entry
    ORDER BY /* order */ id
    LIMIT $13 OFFSET $14
)
SELECT *
FROM (
    SELECT e.id, e."when", e.event, COALESCE(e.dag_id, d.dag_id) AS dag_id, COALESCE(e.task_id, t.task_id) AS task_id,
           COALESCE(e.run_id, r.run_id) AS run_id, e.map_index, e.try_number,
           COALESCE(e.logical_date, r.logical_date) AS logical_date, COALESCE(e.owner, t.owner) AS owner, e.extra
    FROM page
    JOIN updraft.event_log e ON e.id = page.id
    LEFT JOIN updraft.dag_run r ON r.id = e.run
    LEFT JOIN updraft.dag d ON d.id = r.dag
    LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = e.task
) entry
ORDER BY /* order */ id
