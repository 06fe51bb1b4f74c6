//! conntracer
fn main() {}
