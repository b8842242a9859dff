-- Fence and batch number in one, then the runs, sorted. No row of the fence: replaced, repeated, or out of order.
WITH fence AS (
    UPDATE updraft.lane SET sequence = $4, verdicts = NULL
    WHERE scheduler = $1 AND lane = $2 AND epoch = $3 AND (sequence = $4 - 1 OR sequence IS NULL)
    RETURNING 1
), runs AS (
    SELECT id, version, owner, state, dag_version, start_date FROM updraft.dag_run WHERE id = ANY ($5) ORDER BY id
    FOR NO KEY UPDATE
)
SELECT NULL::bigint, NULL::bigint, NULL::bigint, NULL::smallint, NULL::bigint, NULL::timestamptz FROM fence
UNION ALL
SELECT id, version, owner, state, dag_version, start_date FROM runs
