//! A stand-in for a Host Client update, so that the demo has a VIB to install. It holds one text file. A real host
//! refuses it: what stands in the place of its signature is none.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// The variable by which simulated hosts name the file.
pub const VARIABLE: &str = "host_client_vib";

/// Newer than the Host Client of every simulated release, older than none that VMware will make.
const VERSION: &str = "2.18.99-1.sim";

/// The bytes of the VIB: an `ar` archive of descriptor, signature and payload.
pub fn host_client() -> std::io::Result<Vec<u8>> {
    let tar = tarball("usr/lib/vmware/hostd/docroot/ui/STAND-IN", b"made by esxprep's simulator, not by VMware\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&tar)?;
    let payload = gzip.finish()?;
    let descriptor = format!(
        "<vib version=\"5.0\"><type>bootbank</type><name>esx-ui</name><version>{VERSION}</version><vendor>VMware</vendor>\
         <summary>Stand-in for a Host Client update</summary><description>Made by esxprep's simulator</description>\
         <release-date>2026-01-01T00:00:00.000000+00:00</release-date><urls/><relationships><depends/><conflicts/><replaces/>\
         <provides/><compatibleWith/></relationships><software-tags/><system-requires><maintenance-mode>false</maintenance-mode>\
         </system-requires><file-list><file>usr/lib/vmware/hostd/docroot/ui/STAND-IN</file></file-list>\
         <acceptance-level>certified</acceptance-level><live-install-allowed>true</live-install-allowed>\
         <live-remove-allowed>true</live-remove-allowed><cimom-restart>false</cimom-restart><stateless-ready>true</stateless-ready>\
         <overlay>false</overlay><payloads><payload name=\"esx-ui\" type=\"tgz\" size=\"{size}\">\
         <checksum checksum-type=\"sha-256\">{packed}</checksum>\
         <checksum checksum-type=\"sha-256\" verify-process=\"gunzip\">{unpacked}</checksum></payload></payloads></vib>\n",
        size = payload.len(),
        packed = hex(&payload),
        unpacked = hex(&tar),
    );
    let mut archive = b"!<arch>\n".to_vec();
    member(&mut archive, "descriptor.xml", descriptor.as_bytes());
    member(&mut archive, "sig.pkcs7", b"no signature: only a simulated host takes this for one\n");
    member(&mut archive, "esx-ui", &payload);
    Ok(archive)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn member(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len());
    archive.extend(header.as_bytes());
    archive.extend(bytes);
    if bytes.len() % 2 == 1 {
        archive.push(b'\n');
    }
}

/// A tar archive (ustar) of one file.
fn tarball(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_the_members_of_a_vib_in_order() {
        let vib = host_client().unwrap();
        assert!(vib.starts_with(b"!<arch>\ndescriptor.xml  "));
        let text = String::from_utf8_lossy(&vib);
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("descriptor.xml") < at("sig.pkcs7") && at("sig.pkcs7") < at("esx-ui          0"));
    }
}
