UPDATE updraft.attempt SET is_obsolete = true WHERE token = ANY ($1)
