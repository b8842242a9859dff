UPDATE updraft.dag_run r SET note = $2, note_user = $3 FROM updraft.dag d
WHERE r.id = $1 AND d.id = r.dag
RETURNING /* run */
