DELETE FROM updraft.connection WHERE conn_id = $1
