UPDATE updraft.dag SET is_paused = true
WHERE id = $1 AND (
    SELECT count(*) FILTER (WHERE state = 3)
    FROM (SELECT state FROM updraft.dag_run WHERE dag = $1 ORDER BY logical_date DESC LIMIT $2) last
) = $2
