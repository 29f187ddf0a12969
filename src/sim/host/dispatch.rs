//! From a program's name to its answer.

use super::state::HostState;
use super::{Answer, Call, esxcfg, esxcli, secure, tools, vimcmd};

type Program = fn(&mut HostState, &Call<'_>) -> Answer;

const PROGRAMS: &[(&str, Program)] = &[
    ("/bin/esxcli", |s, c| esxcli::run(s, c, true)),
    ("/sbin/esxcli", |s, c| esxcli::run(s, c, true)),
    ("/bin/localcli", |s, c| esxcli::run(s, c, false)),
    ("/sbin/localcli", |s, c| esxcli::run(s, c, false)),
    ("/bin/vim-cmd", vimcmd::run),
    ("/bin/vmware", tools::vmware),
    ("/bin/uname", tools::uname),
    ("/bin/hostname", tools::hostname),
    ("/bin/df", tools::df),
    ("/bin/vdf", tools::vdf),
    ("/bin/vmkfstools", tools::vmkfstools),
    ("/sbin/vmkfstools", tools::vmkfstools),
    ("/bin/vmkload_mod", esxcfg::vmkload_mod),
    ("/bin/vmkping", tools::vmkping),
    ("/sbin/vmkping", tools::vmkping),
    ("/bin/ping", tools::vmkping),
    ("/bin/lspci", tools::lspci),
    ("/sbin/chkconfig", tools::chkconfig),
    ("/sbin/auto-backup.sh", tools::auto_backup),
    ("/bin/auto-backup.sh", tools::auto_backup),
    ("/sbin/backup.sh", tools::auto_backup),
    ("/bin/backup.sh", tools::auto_backup),
    ("/sbin/services.sh", tools::services),
    ("/sbin/generate-certificates", tools::generate_certificates),
    ("/usr/lib/vmware/openssh/bin/sshd", super::cmd::sshd::program),
    ("/usr/lib/vmware/secureboot/bin/secureBoot.py", secure::secure_boot),
    ("/bin/openssl", secure::openssl),
    ("/sbin/reboot", tools::reboot),
    ("/bin/reboot", tools::reboot),
    ("/sbin/poweroff", tools::poweroff),
    ("/bin/poweroff", tools::poweroff),
    ("/sbin/halt", tools::poweroff),
    ("/bin/halt", tools::poweroff),
    ("/sbin/esxcfg-vmknic", esxcfg::esxcfg_vmknic),
    ("/sbin/esxcfg-nics", esxcfg::esxcfg_nics),
    ("/sbin/esxcfg-vswitch", esxcfg::esxcfg_vswitch),
    ("/sbin/esxcfg-module", esxcfg::esxcfg_module),
    ("/sbin/esxcfg-advcfg", esxcfg::esxcfg_advcfg),
    ("/sbin/esxcfg-info", esxcfg::esxcfg_info),
    ("/etc/init.d/DCUI", tools::init_script),
    ("/etc/init.d/ESXShell", tools::init_script),
    ("/etc/init.d/SSH", tools::init_script),
    ("/etc/init.d/hostd", tools::init_script),
    ("/etc/init.d/lbtd", tools::init_script),
    ("/etc/init.d/ntpd", tools::init_script),
    ("/etc/init.d/ptpd", tools::init_script),
    ("/etc/init.d/rhttpproxy", tools::init_script),
    ("/etc/init.d/sfcbd-watchdog", tools::init_script),
    ("/etc/init.d/slpd", tools::init_script),
    ("/etc/init.d/snmpd", tools::init_script),
    ("/etc/init.d/usbarbitrator", tools::init_script),
    ("/etc/init.d/vmsyslogd", tools::init_script),
    ("/etc/init.d/vobd", tools::init_script),
    ("/etc/init.d/vpxa", tools::init_script),
    ("/etc/init.d/wsman", tools::init_script),
    ("/etc/init.d/xorg", tools::init_script),
    ("/etc/init.d/lwsmd", tools::init_script),
];

/// The absolute paths of every program that [`answer`] knows.
pub fn programs() -> &'static [&'static str] {
    static PATHS: std::sync::LazyLock<Vec<&'static str>> =
        std::sync::LazyLock::new(|| PROGRAMS.iter().map(|p| p.0).collect());
    &PATHS
}

/// Runs a program: changes the state and the files under the root, and says what it prints.
///
/// The program may be named by its path or by its name alone. esx.conf is written anew after a change of the
/// state, so a line that somebody deleted comes back, as on a running host.
pub fn answer(state: &mut HostState, call: &Call<'_>) -> Answer {
    let Some(name) = call.argv.first() else { return Answer::err("sh: no program\n", 127) };
    let found = PROGRAMS
        .iter()
        .find(|p| p.0 == name)
        .or_else(|| PROGRAMS.iter().find(|p| !name.contains('/') && p.0.rsplit('/').next() == Some(name)));
    let Some((_, run)) = found else { return Answer::err(format!("sh: {name}: not found\n"), 127) };
    let before = state.esx_conf();
    let answer = run(state, call);
    let text = state.esx_conf();
    if text != before {
        let path = call.path("/etc/vmware/esx.conf");
        if path.exists()
            && let Err(e) = std::fs::write(&path, text)
        {
            tracing::warn!("esx.conf of {}: {e}", state.name());
        }
    }
    answer
}
