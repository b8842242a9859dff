SELECT * FROM updraft.connection WHERE conn_id = $1 FOR UPDATE
