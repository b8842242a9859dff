SELECT run, task, map_index, state, try_number, max_tries, due_at FROM updraft.task_instance WHERE run = ANY ($1)
ORDER BY run, task, map_index
