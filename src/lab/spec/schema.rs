//! The JSON Schema of a lab file, for editors: made from the types that read it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Settings;
use super::load::{LabKeys, OF_HOST};

/// The schema of a lab file. `load` and `plan` check more than it can say.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let lab = generator.root_schema_for::<LabKeys>().to_value();
    let settings = generator.root_schema_for::<Settings>().to_value();
    let mut properties = lab["properties"].clone();
    if let (Some(all), Some(more)) = (properties.as_object_mut(), settings["properties"].as_object()) {
        for (key, value) in more.iter().filter(|(k, _)| !OF_HOST.contains(&k.as_str())) {
            all.insert(key.clone(), value.clone());
        }
    }
    let mut definitions = lab["$defs"].clone();
    if let (Some(all), Some(more)) = (definitions.as_object_mut(), settings["$defs"].as_object()) {
        all.extend(more.clone());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "esxprep lab",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}
