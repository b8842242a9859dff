-- The DAG $1, if its newest version is $2 and it may have runs. Whoever else creates a run of it for updates waits.
SELECT id FROM updraft.dag WHERE id = $1 AND newest_version = $2 AND is_active AND NOT is_paused FOR NO KEY UPDATE
