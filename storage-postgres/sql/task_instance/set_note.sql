INSERT INTO updraft.task_instance_note (run, task, map_index, content, "user") VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (run, task, map_index) DO UPDATE SET content = excluded.content, "user" = excluded."user"
