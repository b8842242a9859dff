SELECT s.run, s.task, s.map_index, s.skip
FROM updraft.skip_decision s
JOIN updraft.task_instance i ON i.run = s.run AND i.task = s.task AND i.map_index = s.map_index AND i.state = 4
WHERE s.run = ANY ($1) ORDER BY s.run, s.task, s.map_index
