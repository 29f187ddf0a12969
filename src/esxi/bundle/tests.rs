use std::io::Cursor;

use proptest::prelude::*;

use super::testvib::{TestVib, ar, bundle as make_bundle, bundle_of, zip_of};
use super::*;

fn look(bytes: &[u8]) -> Result<Software, BundleError> {
    inspect(Cursor::new(bytes.to_vec()))
}

#[test]
fn a_vib_says_what_it_is() {
    let made = TestVib { maintenance: true, live: false, ..TestVib::new("hello", "1.2-3") };
    let s = look(&made.bytes()).unwrap();
    assert!(!s.bundle);
    assert_eq!(s.warnings, Vec::<String>::new());
    let v = &s.vibs[0];
    assert_eq!((v.name.as_str(), v.version.as_str(), v.vendor.as_str()), ("hello", "1.2-3", "Test"));
    assert_eq!((v.acceptance.as_str(), v.unsigned), ("community", true));
    assert!(v.maintenance_mode && !v.live_install && v.payload_bytes > 0);
}

#[test]
fn a_claim_without_a_signature_is_warned_about() {
    let made = TestVib { signature: Vec::new(), ..TestVib::new("bad", "1-1").level("partner") };
    let s = look(&made.bytes()).unwrap();
    assert!(s.vibs[0].unsigned);
    assert!(s.warnings[0].contains("claims acceptance level `partner`"), "{:?}", s.warnings);
    let signed = look(&TestVib::new("good", "1-1").level("partner").bytes()).unwrap();
    assert!(!signed.vibs[0].unsigned && signed.warnings.is_empty());
}

#[test]
fn a_bundle_lists_all_its_vibs() {
    let vibs = [TestVib::new("one", "1-1"), TestVib::new("two", "2.0-5").level("accepted")];
    let s = look(&make_bundle(&vibs)).unwrap();
    assert!(s.bundle);
    assert_eq!(s.vibs.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(s.warnings.is_empty(), "{:?}", s.warnings);
}

#[test]
fn one_flipped_byte_in_a_payload_is_found() {
    let v = TestVib::new("hello", "1-1");
    let mut bytes = v.bytes();
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    assert!(matches!(look(&bytes), Err(BundleError::Digest { by: "its descriptor", .. })));
    assert!(matches!(look(&bundle_of(std::slice::from_ref(&v), &[bytes])), Err(BundleError::Digest { .. })));
    // another whole VIB than the metadata is about
    let other = TestVib { files: vec![("opt/x".into(), b"other".to_vec())], ..v.clone() };
    let e = look(&bundle_of(&[v], &[other.bytes()])).unwrap_err();
    assert!(matches!(e, BundleError::Digest { by: "the bundle's metadata", .. }), "{e}");
}

#[test]
fn what_is_no_software_says_so() {
    let e = look(b"<!DOCTYPE html><html>Log in</html>").unwrap_err().to_string();
    assert!(e.contains("web page") && e.contains("login"), "{e}");
    assert!(matches!(look(b""), Err(BundleError::NotSoftware(_))));
    assert!(matches!(look(&zip_of(&[("a.txt".into(), vec![1])])), Err(BundleError::NotSoftware(_))));
    let v = TestVib::new("hello", "1-1").bytes();
    assert!(matches!(look(&v[..v.len() - 40]), Err(BundleError::NotVib(_))));
    let swapped = ar(&[("sig.pkcs7", b""), ("descriptor.xml", b"<vib/>")]);
    assert!(look(&swapped).unwrap_err().to_string().contains("first member"));
    let nameless = ar(&[("descriptor.xml", b"<vib version=\"5.0\"><version>1</version></vib>")]);
    assert!(look(&nameless).unwrap_err().to_string().contains("no <name>"));
    let missing = b"<vib><name>a</name><version>1</version><payloads><payload name=\"p\" size=\"3\"/></payloads></vib>";
    assert!(look(&ar(&[("descriptor.xml", missing)])).unwrap_err().to_string().contains("missing"));
}

#[test]
fn a_zip_bomb_is_refused() {
    // 64 MiB of zeros behind a valid VIB start pack to about 64 KiB.
    let mut vib = TestVib::new("boom", "1-1").bytes();
    vib.extend(std::iter::repeat_n(0u8, 0)); // the VIB itself stays whole; a huge member follows
    let size = 64 << 20;
    vib.extend(format!("{:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", "zeros", 0, 0, 0, "100644").bytes());
    vib.resize(vib.len() + size, 0);
    let e = look(&bundle_of(&[TestVib::new("boom", "1-1")], &[vib])).unwrap_err().to_string();
    assert!(e.contains("bomb"), "{e}");
    let huge = format!("<vib><name>{}</name>", "x".repeat(17 << 20));
    assert!(matches!(look(&ar(&[("descriptor.xml", huge.as_bytes())])), Err(BundleError::TooBig { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = look(&bytes);
        let _ = look(&[b"!<arch>\n".to_vec(), bytes.clone()].concat());
        let _ = look(&[b"PK\x03\x04".to_vec(), bytes.clone()].concat());
        let _ = look(&ar(&[("descriptor.xml", &bytes)]));
    }

    #[test]
    fn damaged_files_never_panic(at in 0usize..4000, value: u8, cut in 0usize..4000, zip: bool) {
        let v = TestVib::new("hello", "1-1");
        let mut bytes = if zip { make_bundle(&[v]) } else { v.bytes() };
        let n = bytes.len();
        bytes[at % n] = value;
        let _ = look(&bytes);
        bytes.truncate(cut % n);
        prop_assert!(look(&bytes).is_err() || zip);
    }
}
