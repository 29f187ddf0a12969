//! The JSON Schema of a playbook, for editors: the wrapper by hand, each kind's arguments from its own types.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of a playbook. Editors that know YAML use it for completion; `load` checks more than it can say.
pub fn schema() -> Value {
    with_kinds(crate::steps::kinds())
}

fn with_kinds(kinds: &[crate::steps::Kind]) -> Value {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let template = json!({"type": "string", "pattern": "\\{[{%]"});
    let one_or_more = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    let time = json!({"oneOf": [{"type": "number", "minimum": 0}, {"type": "string"}],
        "description": "Seconds, or a time with a unit: 30s, 5m."});
    let common = json!({
        "name": {"type": "string", "description": "What the step is for; may hold templates."},
        "id": {"type": "string", "pattern": "^\\S+$",
            "description": "The control that this step is, or is part of: ESXI-80-000005. A control that fails does not end the work on its host."},
        "fix": {"type": ["boolean", "string"], "default": true,
            "description": "Whether what differs is changed. With false it is judged only, and what differs is a finding."},
        "when": {"oneOf": [{"type": ["string", "boolean"]}, {"type": "array", "items": {"type": ["string", "boolean"]}}],
            "description": "An expression, without braces; of a list, all must hold."},
        "tags": one_or_more,
        "for_each": {"type": ["array", "object", "string"],
            "description": "A list, a mapping (items have `key` and `value`), or an expression that gives one."},
        "loop_var": {"type": "string", "default": "item"},
        "retries": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0},
        "delay": time, "timeout": time,
        "register": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "expect": {"type": ["object", "array"], "description": "What must hold after the step: arguments of `assert`."},
    });
    let mut properties: Map<String, Value> = common.as_object().cloned().unwrap_or_default();
    let mut choices = Vec::new();
    for kind in kinds {
        let arguments = (kind.schema)(&mut generator);
        properties.insert(
            kind.name.to_owned(),
            json!({"description": kind.about, "anyOf": [arguments.to_value(), template, {"type": "null"}]}),
        );
        choices.push(json!({"required": [kind.name]}));
    }
    let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
    let definitions = generator.take_definitions(true);
    let mut step = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !choices.is_empty() {
        step["oneOf"] = Value::Array(choices);
    }
    let include = json!({"type": "object", "required": ["include"], "additionalProperties": false, "properties": {
        "include": {"type": "string", "description": "A file, relative to this one: a list of steps, or a mapping with `steps` and `vars`."},
        "name": {"type": "string"}, "when": common["when"], "tags": common["tags"], "vars": {"type": "object"},
    }});
    let mut defs = definitions;
    defs.insert("step".into(), json!({"anyOf": [step, include, {"enum": names}]}));
    let waiver = json!({"type": "object", "required": ["id", "reason", "until"], "additionalProperties": false, "properties": {
        "id": {"type": "string", "description": "The control."},
        "reason": {"type": "string", "minLength": 1, "description": "Why it is accepted as it is."},
        "until": {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$", "description": "The last day on which it is."},
        "hosts": one_or_more,
    }});
    let amount = json!({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]*%?$"}],
        "description": "A number of hosts, or a percentage of the run's hosts: 20%."});
    let failures = json!({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%?$"}],
        "description": "After so many failed hosts (or so many of a hundred) no other is begun."});
    let release = json!({"type": ["string", "number"], "description": "A release line such as \"6.5\"."});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "esxprep playbook",
        "type": "object",
        "required": ["steps"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "esxi": {"oneOf": [release, {"type": "array", "items": release}]},
            "hosts": one_or_more,
            "vars": {"type": "object", "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}},
            "reboot": generator_enum(&["auto", "never"]),
            "on_running_vms": generator_enum(&["fail", "shutdown", "suspend"]),
            "serial": {"anyOf": [amount, {"type": "array", "items": amount, "minItems": 1}],
                "description": "Hosts of a batch; of a list the last one repeats: [1, 5, 20%]."},
            "order": one_or_more,
            "max_failures": failures,
            "max_down": amount,
            "baseline": {"type": "string", "description": "The baseline whose controls the steps with an `id` are: stig-8.0."},
            "waivers": {"type": "array", "items": waiver},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        },
        "$defs": defs,
    })
}

fn generator_enum(words: &[&str]) -> Value {
    json!({"enum": words, "default": words.first()})
}
