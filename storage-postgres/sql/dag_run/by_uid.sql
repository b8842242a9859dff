SELECT /* run */
FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag
WHERE r.uid = $1
LIMIT 1
