//! stub
#[derive(Debug, Default)]
pub(crate) struct Lanes;
impl Lanes {
    pub(crate) async fn close(&self) {}
}
