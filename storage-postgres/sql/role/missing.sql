SELECT name FROM unnest($1::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM updraft.role r WHERE r.name = wanted.name)
ORDER BY name LIMIT 1
