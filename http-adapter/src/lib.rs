//! Updraft's wire APIs as tower services.
