//! Boot options of the installer: `kernelopt=` of the CD's BOOT.CFG, and more on the kernel's own command line, which
//! stands for what a person types at the boot prompt.

/// What a BOOT.CFG says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootCfg {
    /// As `6.5.0-0.0.4564106`.
    pub(super) build: String,
    pub(super) kernelopt: String,
}

impl BootCfg {
    pub(super) fn parse(text: &str) -> BootCfg {
        let value = |key: &str| {
            let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().trim().to_string()
        };
        BootCfg { build: value("build"), kernelopt: value("kernelopt") }
    }

    /// The release line, as `6.5`.
    pub(super) fn release(&self) -> Option<String> {
        let mut parts = self.build.split('.');
        let (major, minor) = (parts.next()?, parts.next()?);
        (!major.is_empty() && major.bytes().chain(minor.bytes()).all(|b| b.is_ascii_digit()))
            .then(|| format!("{major}.{minor}"))
    }
}

/// The words of both, later ones first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Words(Vec<(String, String)>);

impl Words {
    pub(super) fn of(kernelopt: &str, cmdline: &str) -> Words {
        let words = cmdline.split_whitespace().rev().chain(kernelopt.split_whitespace().rev());
        Words(
            words
                .map(|word| {
                    let (key, value) = word.split_once('=').unwrap_or((word, ""));
                    (key.to_string(), value.to_string())
                })
                .collect(),
        )
    }

    /// The value of an option, empty for one without a value.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The NIC that is named: `netdevice=`, its alias `ksdevice=`, or `BOOTIF=01-MAC`.
    pub(super) fn nic(&self) -> Option<String> {
        let named = self.get("netdevice").or_else(|| self.get("ksdevice")).map(String::from);
        named.or_else(|| Some(self.get("BOOTIF")?.strip_prefix("01-")?.replace('-', ":")))
    }

    /// Whether log lines of the installer go to the first serial port.
    pub(super) fn serial_log(&self) -> bool {
        self.get("logPort") == Some("com1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_cfg_is_read_with_either_line_end() {
        let cfg =
            BootCfg::parse("kernel=/b.b00\r\nkernelopt=runweasel ks=cdrom:/KS.CFG\r\nbuild=6.7.0-1.28.10302608\r\n");
        assert_eq!(cfg.kernelopt, "runweasel ks=cdrom:/KS.CFG");
        assert_eq!(cfg.release().as_deref(), Some("6.7"));
        assert_eq!(BootCfg::parse("title=x\n").release(), None);
    }

    #[test]
    fn the_command_line_wins_over_the_cd() {
        let words =
            Words::of("runweasel ks=cdrom:/KS.CFG ip=1.2.3.4", "quiet ks=usb:/KS.CFG BOOTIF=01-52-54-00-00-00-01");
        assert_eq!(words.get("ks"), Some("usb:/KS.CFG"));
        assert_eq!(words.get("ip"), Some("1.2.3.4"));
        assert_eq!(words.get("runweasel"), Some(""));
        assert_eq!(words.get("vlanid"), None);
        assert_eq!(words.nic().as_deref(), Some("52:54:00:00:00:01"));
    }
}
