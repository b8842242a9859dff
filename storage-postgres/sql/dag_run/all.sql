-- As `page`, of all runs in the order of their creation, with the total: one row at least. For pages near the beginning.
SELECT /* run */, whole.total
FROM (SELECT count(*) AS total FROM updraft.dag_run) AS whole
LEFT JOIN (SELECT * FROM updraft.dag_run ORDER BY id LIMIT $1 OFFSET $2) AS r ON true
LEFT JOIN updraft.dag d ON d.id = r.dag
ORDER BY r.id
