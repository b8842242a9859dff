//! Updraft's PostgreSQL storage (not built yet).
