DELETE FROM updraft.source
WHERE fileloc = $1 AND NOT EXISTS (SELECT FROM updraft.dag d WHERE d.fileloc = $1)
