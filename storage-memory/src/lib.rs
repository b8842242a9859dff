//! Updraft's embedded storage.
