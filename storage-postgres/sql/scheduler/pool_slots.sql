SELECT name, slots FROM updraft.pool ORDER BY id
