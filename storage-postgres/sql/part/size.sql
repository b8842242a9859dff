CASE
    WHEN /* all tasks */ THEN (SELECT COALESCE(max(t.ix) + 1, 0) FROM updraft.task t WHERE t.version = r.dag_version)
    ELSE (SELECT count(*) FROM updraft.task t WHERE t.version = r.dag_version AND /* tasks */)
END
