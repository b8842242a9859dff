UPDATE updraft.access SET version = version + 1, has_default_roles = true WHERE NOT has_default_roles
