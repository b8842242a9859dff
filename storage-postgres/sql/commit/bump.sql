-- Runs of other owners, who must see that an attempt has gone.
WITH bumped AS (
    UPDATE updraft.dag_run SET version = version + 1 WHERE id = ANY ($1) RETURNING id, owner
)
INSERT INTO updraft.run_change (scheduler, run) SELECT owner, id FROM bumped WHERE owner IS NOT NULL ON CONFLICT DO NOTHING
