UPDATE updraft.attempt SET phase = 1, start_date = $2 WHERE token = ANY ($1)
