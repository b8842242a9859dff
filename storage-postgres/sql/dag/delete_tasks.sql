DELETE FROM updraft.task WHERE version = ANY ($1)
