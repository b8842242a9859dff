-- Schedulers that a change of these runs concerns: owners, and those that have attempts of them.
INSERT INTO updraft.run_change (scheduler, run)
SELECT r.owner, r.id FROM updraft.dag_run r WHERE r.id = ANY ($1) AND r.owner IS NOT NULL
UNION
SELECT a.scheduler, a.run FROM updraft.attempt a WHERE a.run = ANY ($1)
ON CONFLICT DO NOTHING
