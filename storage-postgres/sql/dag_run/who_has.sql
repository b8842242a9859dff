-- What stands in the way of a run of this version: its date, or its id; no row if the version is gone.
SELECT EXISTS (SELECT FROM updraft.dag_run r WHERE r.dag = v.dag AND r.logical_date = $2) FROM updraft.dag_version v
WHERE v.id = $1
