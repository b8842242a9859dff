-- Admin keeps what it has.
DELETE FROM updraft.permission p
USING updraft.role r
WHERE p.resource = ANY ($1::text[]) AND r.id = p.role AND r.name <> 'Admin'
  AND NOT EXISTS (
      SELECT FROM unnest($2::text[], $3::text[], $4::text[]) AS kept (role, action, resource)
      WHERE kept.role = r.name AND kept.action = p.action AND kept.resource = p.resource
  )
