SELECT run, task, map_index, token, try_number, phase, scheduler, is_obsolete, queued_when, start_date
FROM updraft.attempt WHERE run = ANY ($1) ORDER BY run, task, map_index
