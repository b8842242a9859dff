WITH logins AS (
    SELECT p.id, new.succeeded, new.last_login, new.failed
    FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bigint[]) AS new (username, succeeded, last_login, failed)
    JOIN updraft.principal p ON lower(p.username) = new.username
    ORDER BY p.id
    FOR UPDATE OF p
)
UPDATE updraft.principal p
SET login_count = COALESCE(p.login_count, 0) + l.succeeded,
    last_login = COALESCE(l.last_login, p.last_login),
    fail_login_count = CASE WHEN l.succeeded > 0 THEN 0 ELSE COALESCE(p.fail_login_count, 0) END + l.failed
FROM logins l
WHERE p.id = l.id
