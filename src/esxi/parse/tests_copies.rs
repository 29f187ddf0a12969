//! Damaged copies of which some words allow one reading only, and those that allow several.

use serde_json::{Value, json};

use super::{Parsed, parse};
use crate::esxi::output::Output;

fn read(command: &str, text: &str) -> Result<Value, String> {
    match parse(command, &Output::ok(text)) {
        Ok(Parsed::Answer(value)) => Ok(value),
        Ok(failed) => Ok(failed.to_json()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn two_words_in_a_squeezed_row_are_not_one_cell() {
    // Both fit under the first dashes, and under no others would anything be missing.
    assert_eq!(
        read("esxcli storage core plugin list", "Plugin name Plugin class\n----------- ------------\nNMP MP\n"),
        Ok(json!([{"Plugin name": "NMP", "Plugin class": "MP"}]))
    );
    let unknown = read("esxcli some thing list", "Left name Right name\n--------- ----------\nabc de fg\n");
    assert!(unknown.unwrap_err().contains("line 3"));
}

#[test]
fn a_squeezed_heading_line_has_all_its_headings() {
    let heads = "Adapter Target IP Port Tpgt\n------- -------------------- ----------- ---- ----\n";
    assert_eq!(read("esxcli iscsi adapter target portal list", heads), Ok(json!([])));
    let row = format!("{heads}vmhba33 iqn.2010-09.org.a:b 192.168.1.7 3260 1\n");
    assert_eq!(
        read("esxcli iscsi adapter target portal list", &row),
        Ok(json!([{"Adapter": "vmhba33", "Target": "iqn.2010-09.org.a:b", "IP": "192.168.1.7", "Port": "3260",
            "Tpgt": "1"}]))
    );
}

#[test]
fn one_unbroken_line_of_dashes_under_known_headings() {
    let text = "Name Enabled\n--------------------\nsshServer true\ndns false\n";
    assert_eq!(
        read("esxcli network firewall ruleset list", text),
        Ok(json!([{"Name": "sshServer", "Enabled": "true"}, {"Name": "dns", "Enabled": "false"}]))
    );
}

#[test]
fn a_quotation_mark_in_front_of_the_first_line_only() {
    assert_eq!(
        read("esxcli software vib install -v /a.vib", "> [InstallationError]\n Not this.\n      vibs = a\n").unwrap()["error"]
            ["class"],
        "installation_error"
    );
    let text = "> Installation Result\n   Message: Host is not changed.\n   Reboot Required: false\n";
    assert_eq!(read("esxcli software vib install -v /a.vib", text).unwrap()["_heading"], "Installation Result");
}

#[test]
fn a_filter_that_kept_the_headings_of_an_unknown_table() {
    let text = "Name            Controller Number  Adapter  Is Online\nnqn.1994-11.a:b                256  vmhba2        true\n";
    assert_eq!(
        read("esxcli nvme thing list | grep -i 'a\\|Adapter'", text),
        Ok(json!([{"Name": "nqn.1994-11.a:b", "Controller Number": "256", "Adapter": "vmhba2", "Is Online": "true"}]))
    );
    // Nothing says that the first of these lines is not a row.
    let rows = read("esxcli nvme thing list | grep a", "Alpha  Beta  Gamma\nDelta  Eps  Zeta\n").unwrap();
    assert_eq!(rows[0]["_1"], "Alpha");
}

#[test]
fn a_path_without_the_kind_of_its_value_is_no_answer() {
    let bad = read("esxcli --formatter=keyvalue network nic list", "structure[0].Nic.Name=vmnic0\n");
    assert!(bad.unwrap_err().contains("line 1"));
}

#[test]
fn other_tools_print_tables_with_rulers_too() {
    let text = "Lcore ID  Switch   Affinity\n--------  -------  --------\n       0  Not set        -1\n";
    assert_eq!(read("net-dvs -l", text), Ok(json!([{"Lcore ID": "0", "Switch": "Not set", "Affinity": "-1"}])));
}
