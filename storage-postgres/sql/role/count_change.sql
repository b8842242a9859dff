UPDATE updraft.access SET version = version + 1
