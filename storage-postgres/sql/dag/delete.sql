DELETE FROM updraft.dag WHERE id = $1
