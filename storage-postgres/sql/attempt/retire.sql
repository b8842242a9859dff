UPDATE updraft.attempt a SET is_obsolete = true FROM unnest($1::uuid[]) AS r (token) WHERE a.token = r.token
