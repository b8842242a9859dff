//! The PostgreSQL storage has the properties of every storage.

mod support;

updraft_core::storage_conformance!(support::open);
