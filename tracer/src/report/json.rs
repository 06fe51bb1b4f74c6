//! The summary as the `summary` record.

use bytes::BytesMut;

use crate::sink::json::write_line;
use crate::summary::Summary;

/// Appends `summary` as one line of JSON.
pub fn write(summary: &Summary, out: &mut BytesMut) {
    write_line(summary, out);
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;
    use crate::report::text::samples::busy;

    #[test]
    fn the_summary_is_one_object_on_one_line() {
        let mut out = BytesMut::new();
        write(&busy(), &mut out);
        assert_eq!(out.lines().count(), 1);
        assert!(out.ends_with(b"}\n"));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["event"], "summary");
        assert_eq!(value["v"], 1);
        assert_eq!(value["total"]["tx"], busy().total.tx);
        assert_eq!(value["ports"][0]["port"], 80);
        assert_eq!(value["ports"][0]["direction"], "inbound");
        assert_eq!(value["loss"]["late_news"], 0);
        let unknown = value["processes"].as_array().unwrap().last().unwrap();
        assert!(unknown.get("pid").is_none());
    }
}
