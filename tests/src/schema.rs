//! JSON Schemas of docs/, as strict as a test wants them.

use serde_json::Value;

/// The schema with every object closed: a field that nobody described is an error here, though
/// readers must bear it.
#[must_use]
pub fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            for value in object.values_mut() {
                *value = closed(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = closed(value.take());
            }
        }
        _ => {}
    }
    schema
}
