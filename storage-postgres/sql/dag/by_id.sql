SELECT d.newest_version, d.is_paused, d.is_active, d.last_parsed_time, d.last_expired, d.is_held,
       d.next_dagrun, d.next_dagrun_data_interval_start, d.next_dagrun_data_interval_end, d.next_dagrun_create_after,
       NOT d.is_active AND EXISTS (SELECT FROM updraft.import_error e WHERE e.filename = d.fileloc) AS has_import_errors
FROM updraft.dag d
WHERE d.namespace = '' AND d.dag_id = $1
