SELECT s.run, s.task, s.map_index, s.skip
FROM updraft.skip_decision s
CROSS JOIN LATERAL (
    SELECT FROM updraft.task_instance i
    WHERE i.run = s.run AND i.task = s.task AND i.map_index = s.map_index AND i.state = 4 OFFSET 0
) i
WHERE s.run = ANY ($1) ORDER BY s.run, s.task, s.map_index
