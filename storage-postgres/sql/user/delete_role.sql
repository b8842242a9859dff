DELETE FROM updraft.role WHERE name = $1
