use super::*;

fn case(esxi: &str, qemu: &str, known: &[(&'static str, &str)]) -> Case {
    Case {
        esxi: esxi.parse().unwrap(),
        qemu: qemu.parse().unwrap(),
        known: known.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
    }
}

fn ids(about: &str, case: &Case) -> Vec<String> {
    book().remarks(about, case).iter().map(|r| r.id.clone()).collect()
}

#[test]
fn the_table_reads_and_each_rule_says_one_thing() {
    let book = book();
    assert_eq!(book.broken, None);
    assert!(book.rules().len() > 80, "{}", book.rules().len());
    assert_eq!(book.by_id.len(), book.rules().len(), "two rules share a name");
    for rule in book.rules() {
        let says = [
            rule.set.is_some(),
            rule.add.is_some(),
            rule.least.is_some(),
            rule.refuse.is_some(),
            rule.warn.is_some(),
            rule.explain.is_some(),
        ];
        assert_eq!(says.iter().filter(|s| **s).count(), 1, "{}", rule.id);
        assert!(!rule.reason.ends_with('.') && !rule.source.is_empty(), "{}", rule.id);
        assert_ne!(rule.id, LAB_FILE);
    }
}

#[test]
fn a_wrong_table_is_refused_with_its_place() {
    let wrong = "- {id: a, esxi: \"7+\", set: {nic: x}, reason: r, source: s, confidence: high}\n- {id: b, sets: {}, reason: r, source: s, confidence: sure}\n- {id: c, set: {a: b, c: d}, reason: r, source: s, confidence: low}\n";
    let text = Book::parse("t.yml", wrong).unwrap_err().plain();
    for part in ["t.yml:1:", "no range of versions", "t.yml:2:", "sets", "sure", "t.yml:3:", "one thing"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn ranges_compare_numbers() {
    let r = |t: &str| t.parse::<Range>().unwrap();
    assert!(r(">=8.1").contains([10, 0, 2]));
    assert!(!r("<8.1").contains([10, 0, 2]));
    assert!(r("=6.5").contains([6, 5, 3]) && !r("=6.5").contains([6, 7, 0]));
    assert!(r(">=6.5 <7.0").contains([6, 7, 0]) && !r(">=6.5 <7.0").contains([7, 0, 3]));
    assert!(r(">=9.1").contains([9, 1, 0]) && !r(">=9.1").contains([9, 0, 2]));
    assert!(r("any").contains([1, 0, 0]));
    assert_eq!(r(">=6.5 <7.0").to_string(), ">=6.5 <7.0");
    for bad in ["", "6.5", ">= 6.5", ">6.5", "=a", "=1.2.3.4"] {
        assert!(bad.parse::<Range>().is_err(), "{bad}");
    }
}

#[test]
fn the_nic_fits_the_version() {
    let nic = |v: &str| book().choose("nic", &case(v, "10.0", &[])).unwrap().0.to_owned();
    assert_eq!(nic("6.0"), "e1000");
    for v in ["6.5", "6.7", "7.0.3", "8.0.2", "9.0"] {
        assert_eq!(nic(v), "e1000e", "{v}");
    }
    assert_eq!(ids("nic", &case("7.0", "10.0", &[("nic", "e1000")])), ["nic-e1000-gone"]);
    assert!(ids("nic", &case("6.7", "10.0", &[("nic", "e1000")])).is_empty());
}

#[test]
fn vmxnet3_is_healed_on_taps_and_refused_on_hubs_since_8_1() {
    let choose = |q: &str, b: &str| {
        let case = case("8.0", q, &[("nic", "vmxnet3"), ("backend", b)]);
        (book().choose("vnet_hdr", &case).map(|(v, _)| v.to_owned()), ids("nic", &case))
    };
    assert_eq!(choose("10.0.2", "tap"), (Some("off".into()), vec![]));
    assert_eq!(choose("8.1", "tap").0, Some("off".into()));
    assert_eq!(choose("8.0.5", "tap"), (None, vec![]));
    assert_eq!(choose("7.2", "dgram"), (None, vec![]));
    assert_eq!(choose("8.1", "dgram"), (None, vec!["vmxnet3-hub-short-frames".to_owned()]));
    assert_eq!(choose("10.0", "user"), (None, vec![]));
}

#[test]
fn an_unknown_topic_never_holds() {
    assert!(ids("nic", &case("7.0", "10.0", &[])).is_empty());
    assert!(book().least("boot_size", &case("8.0", "10.0", &[])).is_some());
}

#[test]
fn small_boot_disks_are_refused_on_8() {
    let least = |v: &str| book().least("boot_size", &case(v, "10.0", &[("guest", "esxi")])).map(|(s, _)| s.to_owned());
    assert_eq!(least("8.0.3"), Some("32GiB".into()));
    assert_eq!(least("9.0"), Some("32GiB".into()));
    assert_eq!(least("7.0"), None);
    assert_eq!(least("6.5"), Some("1GiB".into()));
}

/// The table in docs/labs.md is this one. After a change: `ESXPREP_BLESS=1 cargo test lab::rules`.
#[test]
fn the_documented_table_is_this_one() {
    let path = "docs/labs.md";
    let kept = std::fs::read_to_string(path).unwrap();
    let (text, table) = kept.split_once(reference::MARK).unwrap();
    let now = reference::markdown(book());
    if std::env::var_os("ESXPREP_BLESS").is_some() {
        std::fs::write(path, format!("{text}{now}")).unwrap();
    } else {
        let kept = format!("{}{table}", reference::MARK);
        for (kept, now) in kept.lines().zip(now.lines()) {
            assert_eq!(kept, now, "see the comment of this test");
        }
        assert_eq!(kept.lines().count(), now.lines().count(), "see the comment of this test");
    }
}
