//! Updraft's built-in operators: processes and templates.

pub mod template;
