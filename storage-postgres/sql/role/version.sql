SELECT version FROM updraft.access
