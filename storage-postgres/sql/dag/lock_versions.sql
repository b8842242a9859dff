-- Versions become visible in the order of their ids, by which schedulers ask for new ones.
SELECT pg_advisory_xact_lock(hashtextextended('updraft.dag_version', 0))
