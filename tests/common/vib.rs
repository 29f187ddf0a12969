//! Makes small VIBs and offline bundles for tests, in the form that public build scripts make them: an ar archive
//! of `descriptor.xml`, `sig.pkcs7` (empty at community level) and payloads; a zip of `index.xml`,
//! `vendor-index.xml`, `metadata.zip` and `vib20/NAME/*.vib`. Whether a real host installs them was not tried.
#![allow(dead_code)]

use std::io::{Cursor, Write};

use sha2::{Digest, Sha256};

/// What the VIB says of itself and what is in it.
#[derive(Clone)]
pub struct TestVib {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Vendor code.
    pub vendor: String,
    /// The descriptor's word: `community`, `partner`, `accepted`, `certified`.
    pub acceptance: String,
    /// Bytes of the signature file.
    pub signature: Vec<u8>,
    /// Installing needs maintenance mode.
    pub maintenance: bool,
    /// Can be installed live.
    pub live: bool,
    /// Files of the one payload: path and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl TestVib {
    /// A community VIB with one small file.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            vendor: "Test".into(),
            acceptance: "community".into(),
            signature: Vec::new(),
            maintenance: false,
            live: true,
            files: vec![(format!("opt/{name}/hello.txt"), b"hello\n".to_vec())],
        }
    }

    /// With this acceptance level and a (fake) signature.
    pub fn level(mut self, level: &str) -> Self {
        self.acceptance = level.into();
        self.signature = if level == "community" { Vec::new() } else { b"not a real signature".to_vec() };
        self
    }

    /// The `VENDOR_bootbank_NAME_VERSION` id.
    pub fn id(&self) -> String {
        format!("{}_bootbank_{}_{}", self.vendor, self.name, self.version)
    }

    fn payload(&self) -> Vec<u8> {
        gzip(&tar(&self.files))
    }

    fn descriptor(&self, more: &str) -> String {
        let packed = self.payload();
        let unpacked = tar(&self.files);
        let files: String = self.files.iter().map(|(p, _)| format!("<file>{p}</file>")).collect();
        format!(
            "<vib version=\"5.0\"><type>bootbank</type><name>{}</name><version>{}</version><vendor>{}</vendor>\
             <summary>test</summary><description>made by a test</description>\
             <release-date>2024-01-02T03:04:05.000000+00:00</release-date><urls/>\
             <relationships><depends/><conflicts/><replaces/><provides/><compatibleWith/></relationships>\
             <software-tags/><system-requires><maintenance-mode>{}</maintenance-mode></system-requires>\
             <file-list>{files}</file-list><acceptance-level>{}</acceptance-level>\
             <live-install-allowed>{}</live-install-allowed><live-remove-allowed>{}</live-remove-allowed>\
             <cimom-restart>false</cimom-restart><stateless-ready>true</stateless-ready><overlay>false</overlay>\
             <payloads><payload name=\"payload1\" type=\"tgz\" size=\"{}\">\
             <checksum checksum-type=\"sha-256\">{}</checksum>\
             <checksum checksum-type=\"sha-256\" verify-process=\"gunzip\">{}</checksum>\
             </payload></payloads>{more}</vib>",
            self.name,
            self.version,
            self.vendor,
            self.maintenance,
            self.acceptance,
            self.live,
            self.live,
            packed.len(),
            sha256(&packed),
            sha256(&unpacked),
        )
    }

    /// The VIB file.
    pub fn bytes(&self) -> Vec<u8> {
        ar(&[
            ("descriptor.xml", self.descriptor("").as_bytes()),
            ("sig.pkcs7", &self.signature),
            ("payload1", &self.payload()),
        ])
    }

    fn path_in_bundle(&self) -> String {
        format!("vib20/{}/{}.vib", self.name, self.id())
    }
}

/// An offline bundle of these VIBs.
pub fn bundle(vibs: &[TestVib]) -> Vec<u8> {
    bundle_of(vibs, &vibs.iter().map(TestVib::bytes).collect::<Vec<_>>())
}

/// An offline bundle whose metadata is about `vibs` but whose VIB files are `files` (to damage them).
pub fn bundle_of(vibs: &[TestVib], files: &[Vec<u8>]) -> Vec<u8> {
    let index = "<vendorList><vendor><name>Test</name><code>Test</code><indexfile>vendor-index.xml</indexfile>\
                 <patchUrl/><relativePath/><content><name>VMware ESX</name>\
                 <type>http://www.vmware.com/depotmanagement/esx</type></content></vendor></vendorList>";
    let vendor = "<metaList><metadata><productId>embeddedEsx</productId><version>6.*</version><locale/>\
                  <url>metadata.zip</url><channelName>default</channelName></metadata></metaList>";
    let mut meta: Vec<(String, Vec<u8>)> = vec![
        ("vmware.xml".into(), b"<metadataResponse><version>3.0</version></metadataResponse>".to_vec()),
        ("vendor-index.xml".into(), vendor.as_bytes().to_vec()),
    ];
    for v in vibs {
        let whole = v.bytes();
        let more = format!(
            "<relative-path>{}</relative-path><packed-size>{}</packed-size><checksum checksum-type=\"sha-256\">{}</checksum>",
            v.path_in_bundle(),
            whole.len(),
            sha256(&whole)
        );
        meta.push((format!("vibs/{}.xml", v.id()), v.descriptor(&more).into_bytes()));
    }
    let mut entries: Vec<(String, Vec<u8>)> = vec![
        ("index.xml".into(), index.as_bytes().to_vec()),
        ("vendor-index.xml".into(), vendor.as_bytes().to_vec()),
        ("metadata.zip".into(), zip_of(&meta)),
    ];
    entries.extend(vibs.iter().zip(files).map(|(v, f)| (v.path_in_bundle(), f.clone())));
    zip_of(&entries)
}

/// A zip of these entries.
pub fn zip_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// An ar archive of these members.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, data) in members {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", data.len()).bytes());
        out.extend_from_slice(data);
        if data.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, data) in files {
        let mut header = [0u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(data);
        out.resize(out.len().div_ceil(512) * 512, 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

/// SHA-256 in hex.
pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect()
}
