//! Which build each simulated line is, and the image it was installed from.
//!
//! The builds: 6.0 Update 3 (5050593), 6.5 Update 1 with the December 2017 patches (7388607), 6.7 Update 3
//! (14320388), 7.0 Update 3g (20328353, recorded) and 8.0 Update 3 (24022510, recorded). esx-ui of 7.0 and 8.0
//! is documented up to the third number; that of 6.0, 6.5 and 6.7 and the driver versions are plausible for the
//! build and not verified.

use super::super::state::{Image, Release, Vib};

/// One build.
pub(in super::super) struct Build {
    pub release: Release,
    pub full: &'static str,
    pub build: u64,
    pub update: i64,
    pub patch: i64,
    /// What the `vmware -l` line says after the version.
    pub label: &'static str,
    /// What `vmware -l` calls the version.
    pub short: &'static str,
    /// The build time, as `uname -a` prints it.
    pub built: &'static str,
    /// The day the image was made and installed.
    pub day: &'static str,
    driver: &'static str,
    base: &'static str,
    profile: &'static str,
}

/// Every build, oldest first.
pub(in super::super) static BUILDS: [Build; 5] = [
    Build {
        release: Release::V60,
        full: "6.0.0",
        build: 5_050_593,
        update: 3,
        patch: 57,
        label: "Update 3",
        short: "6.0.0",
        built: "Feb 17 2017 13:22:32",
        day: "2017-02-24",
        driver: "vmw.600.0.0.2494585",
        base: "6.0.0-3.57.5050593",
        profile: "ESXi-6.0.0-20170202001-standard",
    },
    Build {
        release: Release::V65,
        full: "6.5.0",
        build: 7_388_607,
        update: 1,
        patch: 36,
        label: "Update 1",
        short: "6.5.0",
        built: "Dec 14 2017 10:20:01",
        day: "2017-12-19",
        driver: "vmw.650.0.0.4564106",
        base: "6.5.0-1.36.7388607",
        profile: "ESXi-6.5.0-20171204001-standard",
    },
    Build {
        release: Release::V67,
        full: "6.7.0",
        build: 14_320_388,
        update: 3,
        patch: 73,
        label: "Update 3",
        short: "6.7.0",
        built: "Aug  5 2019 02:46:57",
        day: "2019-08-20",
        driver: "vmw.670.0.0.8169922",
        base: "6.7.0-3.73.14320388",
        profile: "ESXi-6.7.0-20190802001-standard",
    },
    Build {
        release: Release::V70,
        full: "7.0.3",
        build: 20_328_353,
        update: 3,
        patch: 55,
        label: "Update 3",
        short: "7.0",
        built: "Aug 23 2022 05:38:52",
        day: "2022-09-01",
        driver: "vmw.703.0.20.19193900",
        base: "7.0.3-0.55.20328353",
        profile: "ESXi-7.0U3g-20328353-standard",
    },
    Build {
        release: Release::V80,
        full: "8.0.3",
        build: 24_022_510,
        update: 3,
        patch: 0,
        label: "Update 3",
        short: "8.0",
        built: "Jun  7 2024 11:40:28",
        day: "2024-06-25",
        driver: "vmw.803.0.0.24022510",
        base: "8.0.3-0.0.24022510",
        profile: "ESXi-8.0U3-24022510-standard",
    },
];

/// The build of a line.
pub(in super::super) fn of(release: Release) -> &'static Build {
    &BUILDS[release.column()]
}

/// A short summary of a VIB of the image.
fn summary(name: &str) -> String {
    match name {
        "esx-base" => "ESXi base system".into(),
        "esx-ui" => "VMware Host Client".into(),
        "tools-light" => "Light set of VMware Tools".into(),
        "vmw-ahci" => "Native AHCI driver".into(),
        "vmkusb" => "Native USB driver".into(),
        other => format!("{other} for VMware ESXi"),
    }
}

/// The image as the installer wrote it.
pub(in super::super) fn image(release: Release) -> Image {
    let build = of(release);
    let mut vibs = Vec::new();
    for line in include_str!("vibs.tsv").lines().filter(|l| !l.is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let Some(version) = cells.get(1 + release.column()).filter(|v| **v != "-") else { continue };
        let name = cells[0];
        let version = version.replace('@', build.driver);
        let version = match version.split_once('#') {
            Some(("", _)) => build.base.to_owned(),
            Some((head, _)) => format!("{head}{}", build.driver),
            None => version,
        };
        // VMware's own packages carry the long vendor name, drivers the short one (recorded lists).
        let own = version == build.base
            || matches!(name, "esx-ui" | "tools-light" | "misc-drivers" | "vsan" | "vsanhealth" | "cpu-microcode");
        let driver = !own;
        vibs.push(Vib {
            name: name.to_owned(),
            kind: if name == "tools-light" { "locker" } else { "bootbank" }.into(),
            vendor: if own || release == Release::V60 && name.starts_with("esx-") { "VMware" } else { "VMW" }.into(),
            level: "VMwareCertified".into(),
            installed: build.day.into(),
            created: build.day.into(),
            summary: summary(name),
            description: summary(name),
            depends: if driver { vec![format!("vmkapi_2_{}_0_0", release.column() + 3)] } else { Vec::new() },
            conflicts: Vec::new(),
            replaces: Vec::new(),
            provides: if name == "esx-base" {
                let mut all = vec![format!("esx-version = {}", build.full), "com.vmware.vmkapi".to_owned()];
                all.extend((3..=release.column() + 3).map(|n| format!("vmkapi_2_{n}_0_0")));
                all
            } else {
                Vec::new()
            },
            maintenance: name != "esx-ui" && name != "tools-light",
            live_install: matches!(name, "esx-ui" | "tools-light"),
            live_remove: matches!(name, "esx-ui" | "tools-light"),
            overlay: false,
            stateless: true,
            tags: if driver { vec!["driver".into(), "module".into()] } else { Vec::new() },
            payloads: vec![name.chars().filter(char::is_ascii_alphanumeric).take(8).collect()],
            modules: Vec::new(),
            version,
        });
    }
    Image { profile: build.profile.into(), vendor: "VMware, Inc.".into(), modified: build.day.into(), vibs }
}
