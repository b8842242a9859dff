INSERT INTO updraft.role (name) VALUES ($1) RETURNING id
