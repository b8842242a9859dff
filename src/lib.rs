//! Updraft: a workflow orchestrator as a library.
