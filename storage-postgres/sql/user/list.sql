SELECT t.total, page.*
FROM (SELECT count(*) AS total FROM updraft.principal) AS t
LEFT JOIN LATERAL (
    SELECT p.*, c.hash
    FROM updraft.principal p
    LEFT JOIN updraft.credential c ON c.principal = p.id AND c.kind = 'password'
    ORDER BY /* order */ p.id
    LIMIT $1 OFFSET $2
) AS page ON true
