-- A page has a row for each permission, or one for a role without any; an empty page one of the total alone.
WITH page AS MATERIALIZED (
    SELECT id, name, row_number() OVER () AS place
    FROM (SELECT id, name FROM updraft.role ORDER BY /* order */ name LIMIT $1 OFFSET $2) AS chosen
)
SELECT t.total, page.id, page.name, p.action, p.resource
FROM (SELECT count(*) AS total FROM updraft.role) AS t
LEFT JOIN page ON true
LEFT JOIN updraft.permission p ON p.role = page.id
ORDER BY page.place, p.id
