-- Of these, whichever no try that is kept ran on. It reads all task instances.
DELETE FROM updraft.host h
WHERE h.id = ANY ($1)
    AND NOT EXISTS (SELECT FROM updraft.scheduler s WHERE s.host = h.id)
    AND NOT EXISTS (SELECT FROM updraft.attempt a WHERE a.host = h.id)
    AND h.id NOT IN (SELECT i.host FROM updraft.task_instance i WHERE i.host = ANY ($1))
    AND h.id NOT IN (SELECT t.host FROM updraft.task_instance_try t WHERE t.host = ANY ($1))
