SELECT * FROM updraft.import_error WHERE id = $1
