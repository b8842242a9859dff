DELETE FROM updraft.permission WHERE role = $1
