-- Access: logins, tokens, roles that are made once. Names of users are compared without regard to case.

-- One row. Whoever changes users, roles or tokens takes it first and counts the change; so such changes come one by one, and
-- a process sees that what it remembers has changed.
CREATE TABLE updraft.access (
    version bigint NOT NULL,
    -- The roles that come with the program are made once: what is deleted or changed stays so.
    has_default_roles boolean NOT NULL
);
INSERT INTO updraft.access (version, has_default_roles) VALUES (0, false);

ALTER TABLE updraft.principal
    ADD COLUMN login_count bigint,
    ADD COLUMN fail_login_count bigint,
    ADD COLUMN last_login timestamptz;
-- The collation "C" makes small letters of ASCII's only.
CREATE UNIQUE INDEX principal_username ON updraft.principal (lower(username));

ALTER TABLE updraft.credential DROP COLUMN scope, DROP COLUMN expires;

-- The order in which a role got its permissions.
ALTER TABLE updraft.permission ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE INDEX permission_of_resource ON updraft.permission (resource);

-- The text of a token has 256 random bits; its SHA-256 finds it.
CREATE TABLE updraft.token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    principal bigint NOT NULL REFERENCES updraft.principal ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    name text NOT NULL,
    -- Null: all of the user's.
    roles text[] COLLATE "C",
    read_only boolean NOT NULL,
    created_on timestamptz NOT NULL,
    expires timestamptz,
    last_used timestamptz
);
CREATE INDEX token_of_principal ON updraft.token (principal);
