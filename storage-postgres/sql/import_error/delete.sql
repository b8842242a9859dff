DELETE FROM updraft.import_error WHERE filename = $1
