-- Files of DAGs that are to be read again. An index takes no text of any length, so a file is known by its hash.
CREATE TABLE updraft.dag_priority_parsing_request (
    hash bytea PRIMARY KEY,
    fileloc text COLLATE "C" NOT NULL,
    requested_at timestamptz NOT NULL
);
