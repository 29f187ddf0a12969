//! The JSON Schema of an inventory, for editors.

use serde_json::{Map, Value, json};

use super::file::{CONNECTION, OF_DEFAULTS, OF_GROUP, OF_HOST};

/// The schema of an inventory file.
pub fn schema() -> Value {
    let secret = json!({"oneOf": [
        {"type": "string", "description": "In plain text: only for throw-away hosts."},
        {"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": {
            "env": {"type": "string", "description": "An environment variable."},
            "file": {"type": "string", "description": "A file, relative to this one; its last line end is cut."},
            "command": {"type": "string", "description": "Run by /bin/sh; its first line is the secret."},
            "prompt": {"const": true, "description": "Asked on the terminal, once."},
        }},
    ]});
    let words = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    let property = |key: &str| match key {
        "port" => json!({"type": "integer", "minimum": 1, "maximum": 65535, "default": 22}),
        "channels" => json!({"type": "integer", "minimum": 1, "default": 4,
            "description": "Shell channels that reads are spread over."}),
        "password" | "passphrase" => secret.clone(),
        "key" | "known_hosts" | "proxy_jump" | "hosts" | "children" | "groups" => words.clone(),
        "agent" | "accept_new" => json!({"type": "boolean"}),
        "algorithms" => json!({"enum": ["modern", "esxi", "legacy"], "default": "esxi"}),
        "transport" => json!({"enum": ["russh", "libssh2"], "default": "russh",
            "description": "The SSH library; libssh2 only in a build with the feature of that name."}),
        "connect_timeout" | "silence_timeout" => {
            json!({"type": ["number", "string"], "description": "Seconds, or 30s, 5m."})
        }
        "host_key" => json!({"type": "string",
            "description": "The only accepted key: `ssh-ed25519 AAAA...` or `SHA256:...`."}),
        "vars" => json!({"type": "object", "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}}),
        _ => json!({"type": "string"}),
    };
    let section = |more: &[&str]| {
        let properties: Map<String, Value> =
            CONNECTION.iter().chain(more).map(|key| ((*key).to_owned(), property(key))).collect();
        json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties})
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "esxprep inventory",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "defaults": section(OF_DEFAULTS),
            "groups": {"type": "object", "additionalProperties": section(OF_GROUP)},
            "hosts": {"oneOf": [
                {"type": "object", "additionalProperties": section(OF_HOST)},
                {"type": "array", "items": {"type": "string"}},
            ]},
        },
    })
}
