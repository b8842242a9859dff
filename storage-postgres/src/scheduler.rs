//! stub
#[derive(Debug)]
pub(crate) struct Session;
