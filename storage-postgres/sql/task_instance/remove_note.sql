DELETE FROM updraft.task_instance_note WHERE run = $1 AND task = $2 AND map_index = $3
