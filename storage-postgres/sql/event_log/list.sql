-- Entries of tries take their names from their run. A DAG or run that a filter names is looked up first: its entries are found
-- by index. The page is chosen by what filters and orders need, other joins fall away; then it is read wholly.
WITH page AS (
    SELECT id
    FROM (
        SELECT /* event */
        FROM updraft.event_log e
        LEFT JOIN updraft.dag_run r ON r.id = e.run
        LEFT JOIN updraft.dag d ON d.id = r.dag
        LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = e.task
        WHERE /* events */
    ) entry
    ORDER BY /* walk */
    LIMIT $13 OFFSET $14
)
SELECT *
FROM (
    SELECT /* event */
    FROM page
    JOIN updraft.event_log e ON e.id = page.id
    LEFT JOIN updraft.dag_run r ON r.id = e.run
    LEFT JOIN updraft.dag d ON d.id = r.dag
    LEFT JOIN updraft.task t ON t.version = r.dag_version AND t.ix = e.task
) entry
ORDER BY /* order */
