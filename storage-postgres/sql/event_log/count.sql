SELECT count(*)
FROM updraft.event_log e
LEFT JOIN updraft.dag_run r ON r.id = e.run
LEFT JOIN updraft.dag d ON d.id = r.dag
LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = e.task
WHERE /* events */
