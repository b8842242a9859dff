//! Updraft's built-in operators: processes and templates.
