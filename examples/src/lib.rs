//! Updraft's example programs.
