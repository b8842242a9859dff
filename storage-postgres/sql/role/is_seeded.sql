SELECT has_default_roles FROM updraft.access
