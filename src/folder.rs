//! DAG files: loaded at the start, and again when they change.

#[cfg(feature = "yaml")]
pub(crate) use files::Folders;

#[cfg(feature = "yaml")]
mod files {}
