//! Reading a .vib file and an offline bundle, as the host's own installer does.
//!
//! A VIB is an `ar` archive: descriptor.xml, sig.pkcs7, then the payloads. A bundle is a zip with index.xml and
//! the VIBs below vib20/. The product has a reader of its own, on purpose not used here.

use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::Event;
use sha2::{Digest, Sha256};

use super::super::state::Vib;

/// A VIB that was read.
#[derive(Debug, Clone)]
pub(in super::super) struct VibFile {
    pub vib: Vib,
    pub signed: bool,
    /// The first payload that is not what the descriptor says.
    pub broken: Option<String>,
}

/// An element of an XML file.
#[derive(Debug, Default)]
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
    text: String,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }

    fn text_of(&self, name: &str) -> String {
        self.child(name).map(|c| c.text.trim().to_owned()).unwrap_or_default()
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.0 == name).map(|a| a.1.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        self.text_of(name).eq_ignore_ascii_case("true")
    }

    /// Every element of a name below this one.
    fn all<'a>(&'a self, name: &str, out: &mut Vec<&'a Node>) {
        for child in &self.children {
            if child.name == name {
                out.push(child);
            }
            child.all(name, out);
        }
    }
}

fn xml(bytes: &[u8]) -> Result<Node, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let mut reader = Reader::from_str(text);
    let mut stack = vec![Node::default()];
    let make = |e: &quick_xml::events::BytesStart<'_>| Node {
        name: e.name().local_name().as_ref().to_owned(),
        attributes: e
            .attributes()
            .flatten()
            .map(|a| {
                let raw = a.value.to_string();
                let value = quick_xml::escape::unescape(&raw).map(|v| v.into_owned()).unwrap_or_else(|_| raw.clone());
                (a.key.as_ref().to_owned(), value)
            })
            .collect(),
        ..Node::default()
    };
    loop {
        match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(e) => stack.push(make(&e)),
            Event::Empty(e) => {
                let node = make(&e);
                if let Some(top) = stack.last_mut() {
                    top.children.push(node);
                }
            }
            Event::End(_) => {
                let node = stack.pop().unwrap_or_default();
                match stack.last_mut() {
                    Some(top) => top.children.push(node),
                    None => return Err("an end tag too many".into()),
                }
            }
            Event::Text(t) => {
                if let Some(top) = stack.last_mut() {
                    top.text.push_str(&t);
                }
            }
            Event::CData(t) => {
                if let Some(top) = stack.last_mut() {
                    top.text.push_str(&t);
                }
            }
            Event::GeneralRef(r) => {
                let name = r.to_string();
                let text =
                    quick_xml::escape::unescape(&format!("&{name};")).map(|v| v.into_owned()).unwrap_or_default();
                if let Some(top) = stack.last_mut() {
                    top.text.push_str(&text);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let mut root = stack.pop().unwrap_or_default();
    if !stack.is_empty() {
        return Err("the file ends inside an element".into());
    }
    root.children.pop().ok_or_else(|| "no element in the file".into())
}

/// The members of an `ar` archive: name and bytes.
fn ar(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or("not an ar archive")?;
    let mut out = Vec::new();
    while rest.len() >= 60 {
        let (header, behind) = rest.split_at(60);
        if &header[58..60] != b"`\n" {
            return Err("bad member header".into());
        }
        let field = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
        let size: usize = field(48..58).parse().map_err(|_| "bad member size".to_owned())?;
        if behind.len() < size {
            return Err("the file is cut short".into());
        }
        out.push((field(0..16).trim_end_matches('/').to_owned(), &behind[..size]));
        rest = &behind[(size + size % 2).min(behind.len())..];
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn relations(root: &Node, kind: &str) -> Vec<String> {
    let Some(list) = root.child("relationships").and_then(|r| r.child(kind)) else { return Vec::new() };
    list.children
        .iter()
        .filter_map(|c| {
            let name = c.attribute("name")?;
            let relation = c.attribute("relation").unwrap_or("");
            Some(match c.attribute("version") {
                Some(version) => format!("{name} {} {version}", if relation.is_empty() { "=" } else { relation }),
                None => name.to_owned(),
            })
        })
        .collect()
}

/// Reads a .vib file.
///
/// # Errors
/// What is wrong with it, in words.
pub(in super::super) fn read(bytes: &[u8]) -> Result<VibFile, String> {
    let members = ar(bytes)?;
    let member = |name: &str| members.iter().find(|m| m.0 == name).map(|m| m.1);
    let root = xml(member("descriptor.xml").ok_or("no descriptor.xml in the archive")?)?;
    if root.name != "vib" {
        return Err(format!("the descriptor is a {:?}, not a vib", root.name));
    }
    let name = root.text_of("name");
    let version = root.text_of("version");
    if name.is_empty() || version.is_empty() {
        return Err("the descriptor has no name or no version".into());
    }
    let level = match root.text_of("acceptance-level").as_str() {
        "certified" => "VMwareCertified",
        "accepted" => "VMwareAccepted",
        "partner" => "PartnerSupported",
        "community" => "CommunitySupported",
        other => return Err(format!("unknown acceptance level {other:?}")),
    };
    let mut payloads = Vec::new();
    let mut broken = None;
    let mut nodes = Vec::new();
    root.all("payload", &mut nodes);
    for payload in nodes {
        let id = payload.attribute("name").unwrap_or("").to_owned();
        let data = members.iter().find(|m| m.0 == id || (m.0.len() >= 8 && id.starts_with(&m.0))).map(|m| m.1);
        let mut wrong = data.is_none();
        if let Some(data) = data {
            for sum in payload.children.iter().filter(|c| c.name == "checksum") {
                let unpacked;
                let subject = if sum.attribute("verify-process").unwrap_or("").is_empty() {
                    data
                } else {
                    let mut out = Vec::new();
                    wrong |= flate2::read::GzDecoder::new(data).read_to_end(&mut out).is_err();
                    unpacked = out;
                    &unpacked
                };
                if sum.attribute("checksum-type") == Some("sha-256") {
                    wrong |= hex(&Sha256::digest(subject)) != sum.text.trim().to_ascii_lowercase();
                }
            }
            wrong |= payload.attribute("size").and_then(|s| s.parse().ok()).is_some_and(|s: usize| s != data.len());
        }
        if wrong && broken.is_none() {
            broken = Some(id.clone());
        }
        payloads.push(id);
    }
    let mut files = Vec::new();
    root.all("file", &mut files);
    let modules = files
        .iter()
        .filter_map(|f| f.text.trim().trim_start_matches('/').strip_prefix("usr/lib/vmware/vmkmod/"))
        .map(str::to_owned)
        .collect();
    let mut tags = Vec::new();
    root.all("tag", &mut tags);
    let maintenance = root.child("system-requires").is_some_and(|s| {
        s.flag("maintenance-mode")
            || s.child("maintenance-mode").is_some_and(|m| m.attribute("on-install") == Some("true"))
    });
    Ok(VibFile {
        signed: member("sig.pkcs7").is_some_and(|s| !s.is_empty()),
        broken,
        vib: Vib {
            kind: Some(root.attribute("type").map_or_else(|| root.text_of("type"), str::to_owned))
                .filter(|k| !k.is_empty())
                .unwrap_or_else(|| "bootbank".into()),
            vendor: root.text_of("vendor"),
            level: level.into(),
            installed: String::new(),
            created: root.text_of("release-date").chars().take(10).collect(),
            summary: root.text_of("summary"),
            description: root.text_of("description"),
            depends: relations(&root, "depends"),
            conflicts: relations(&root, "conflicts"),
            replaces: relations(&root, "replaces"),
            provides: relations(&root, "provides"),
            maintenance,
            live_install: root.flag("live-install-allowed"),
            live_remove: root.flag("live-remove-allowed"),
            overlay: root.flag("overlay"),
            stateless: root.flag("stateless-ready"),
            tags: tags.iter().map(|t| t.text.trim().to_owned()).collect(),
            payloads,
            modules,
            name,
            version,
        },
    })
}

/// Reads the VIBs of an offline bundle.
///
/// # Errors
/// What is wrong with it, in words.
pub(in super::super) fn bundle(bytes: &[u8]) -> Result<Vec<VibFile>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    if archive.by_name("index.xml").is_err() {
        return Err("\"There is no item named 'index.xml' in the archive\"".into());
    }
    let names: Vec<String> =
        archive.file_names().filter_map(|n| n.ok().map(|n| n.to_string())).filter(|n| n.ends_with(".vib")).collect();
    let mut out = Vec::new();
    for name in names {
        let mut data = Vec::new();
        archive.by_name(&name).map_err(|e| e.to_string())?.read_to_end(&mut data).map_err(|e| e.to_string())?;
        out.push(read(&data).map_err(|e| format!("{name}: {e}"))?);
    }
    Ok(out)
}

/// Which of two versions is newer: numbers by value, words by letter, piece by piece.
pub(in super::super) fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let pieces = |text: &str| {
        let mut out: Vec<(u8, u64, String)> = Vec::new();
        let mut word = String::new();
        let push = |word: &mut String, out: &mut Vec<(u8, u64, String)>| {
            if !word.is_empty() {
                match word.parse::<u64>() {
                    Ok(n) => out.push((1, n, String::new())),
                    Err(_) => out.push((0, 0, word.clone())),
                }
                word.clear();
            }
        };
        let mut digit = false;
        for c in text.chars() {
            if !c.is_ascii_alphanumeric() {
                push(&mut word, &mut out);
                continue;
            }
            if c.is_ascii_digit() != digit {
                push(&mut word, &mut out);
                digit = c.is_ascii_digit();
            }
            word.push(c);
        }
        push(&mut word, &mut out);
        out
    };
    let split = |text: &str| {
        let (v, r) = text.split_once('-').unwrap_or((text, ""));
        (pieces(v), pieces(r))
    };
    split(a).cmp(&split(b))
}
