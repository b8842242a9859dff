($1::text IS NULL OR e.dag_id = $1 OR e.run = ANY (ARRAY(
        SELECT dr.id FROM updraft.dag_run dr JOIN updraft.dag dd ON dd.id = dr.dag
        WHERE dd.namespace = '' AND dd.dag_id = $1 AND ($2::text IS NULL OR dr.run_id = $2))))
    AND ($2::text IS NULL OR e.run_id = $2 OR e.run = ANY (ARRAY(
        SELECT dr.id FROM updraft.dag dd JOIN updraft.dag_run dr ON dr.dag = dd.id AND dr.run_id = $2
        WHERE dd.namespace = '' AND ($1::text IS NULL OR dd.dag_id = $1))))
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
