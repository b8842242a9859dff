SELECT fileloc FROM updraft.dag WHERE id = $1 FOR UPDATE
