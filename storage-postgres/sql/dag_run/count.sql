SELECT count(*) FROM updraft.dag_run r
WHERE /* runs */
    AND /* run values */
