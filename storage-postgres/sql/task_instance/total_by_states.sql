-- Runs that have ended know how many of their instances are in each state.
SELECT COALESCE(sum(/* in states */), 0)::bigint
FROM updraft.dag_run r
WHERE /* runs */ AND /* all tasks */
