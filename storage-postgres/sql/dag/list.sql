SELECT all_of.total, page.id::bigint AS id, page.newest_version, page.is_paused, page.is_active, page.last_parsed_time,
       page.last_expired, page.is_held, page.next_dagrun, page.next_dagrun_data_interval_start,
       page.next_dagrun_data_interval_end, page.next_dagrun_create_after,
       NOT page.is_active AND EXISTS (SELECT FROM updraft.import_error e WHERE e.filename = page.fileloc)
           AS has_import_errors
FROM (SELECT count(*) AS total FROM updraft.dag WHERE /* dags */) all_of
LEFT JOIN (SELECT * FROM updraft.dag WHERE /* dags */ ORDER BY /* order */ dag_id LIMIT $8 OFFSET $9) page ON true
ORDER BY /* order */ dag_id
