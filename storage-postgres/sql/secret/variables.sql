WITH found AS (SELECT *, row_number() OVER (ORDER BY /* order */ id) AS place FROM updraft.variable)
SELECT all_of.total, page.*
FROM (SELECT count(*) AS total FROM found) all_of
LEFT JOIN (SELECT * FROM found ORDER BY place LIMIT $1 OFFSET $2) page ON true
ORDER BY place
