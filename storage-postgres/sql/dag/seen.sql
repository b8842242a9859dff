UPDATE updraft.dag SET is_active = true, last_parsed_time = $1 WHERE id = ANY ($2)
