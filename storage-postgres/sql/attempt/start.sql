UPDATE updraft.attempt a SET phase = 1, start_date = $2 FROM unnest($1::uuid[]) AS s (token) WHERE a.token = s.token
