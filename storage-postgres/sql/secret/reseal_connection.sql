UPDATE updraft.connection
SET password = $6, is_encrypted = $7, extra = $8, is_extra_encrypted = $9
WHERE id = $1
  AND password IS NOT DISTINCT FROM $2 AND is_encrypted = $3
  AND extra IS NOT DISTINCT FROM $4 AND is_extra_encrypted = $5
