(SELECT count(*) FROM updraft.dag_run a WHERE a.dag = d.id AND (a.state = 1 OR (a.state = 0 AND a.owner IS NOT NULL)))
+ (SELECT count(*) FROM updraft.dag_version v
    CROSS JOIN LATERAL (SELECT FROM updraft.dag_run q
        WHERE q.dag_version = v.id AND q.owner IS NULL AND q.state = 0 OFFSET 0) q
    WHERE v.dag = d.id)
