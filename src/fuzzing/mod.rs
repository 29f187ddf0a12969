//! What the fuzz targets do, in one place: the bounded run of the ordinary tests (`tests/fuzz_bounded.rs`) and the
//! endless one of `cargo fuzz` (`fuzz/`) call the same bodies.
//!
//! A body takes any bytes, gives them to every reader of one kind of outside text, checks what can be said of the
//! answer beside "no panic", and gives back how many bytes of answer there were. docs/fuzzing.md says how to run them
//! and how to add one. Not part of the library's interface.

mod dump;
mod esxi;
mod files;
mod given;
pub(crate) mod images;
mod lab;
mod playbooks;
mod streams;

use std::borrow::Cow;

use crate::lab::install::fuzzing as install;

/// Where a target's corpus comes from.
#[derive(Debug, Clone, Copy)]
pub enum Seed {
    /// Recorded outputs, without their header, whose file names contain one of these words.
    Recorded(&'static [&'static str]),
    /// Files of the repository.
    Files(&'static [&'static str]),
    /// Texts.
    Texts(&'static [&'static str]),
    /// VIBs and offline bundles, made by the test support.
    Bundles,
    /// What is in a VIB: descriptors, made by the test support.
    Descriptors,
    /// Bytes that no text can show: images, frames.
    Made(fn() -> Vec<Vec<u8>>),
}

/// One reader of outside text, or a few that read the same kind.
pub struct Target {
    /// Its name, also in `fuzz/Cargo.toml`.
    pub name: &'static str,
    /// Its corpus.
    pub seeds: &'static [Seed],
    /// How many inputs the bounded run tries.
    pub rounds: u32,
    /// Gives an input to the readers; says how many bytes of answer it made.
    pub run: fn(&[u8]) -> usize,
}

/// All of them. A new one is a line here, its body in one of the files beside this one, and its name in
/// `fuzz/Cargo.toml`; a test compares the lists.
pub static TARGETS: &[Target] = &[
    Target { name: "forms", seeds: &[Seed::Recorded(&[""])], rounds: 4000, run: esxi::forms },
    Target {
        name: "vimdump",
        seeds: &[Seed::Recorded(&["advopt"]), Seed::Texts(dump::SEEDS)],
        rounds: 6000,
        run: dump::vimdump,
    },
    Target {
        name: "failure",
        seeds: &[Seed::Recorded(&["error", "vib-install", "vib-remove", "component", "help"])],
        rounds: 1500,
        run: esxi::failure,
    },
    Target {
        name: "software",
        seeds: &[Seed::Recorded(&["vib", "error", "component", "filesystem"]), Seed::Texts(esxi::VDF)],
        rounds: 5000,
        run: esxi::software,
    },
    Target {
        name: "net",
        seeds: &[Seed::Recorded(&["network", "firewall"]), Seed::Texts(esxi::NET)],
        rounds: 2000,
        run: esxi::net,
    },
    Target {
        name: "settings",
        seeds: &[Seed::Recorded(&["settings"]), Seed::Texts(esxi::KEYS)],
        rounds: 5000,
        run: esxi::settings,
    },
    Target {
        name: "words",
        seeds: &[Seed::Recorded(&["initd", "uname", "services-sh"]), Seed::Texts(esxi::WORDS)],
        rounds: 1500,
        run: esxi::words,
    },
    Target {
        name: "parse",
        seeds: &[Seed::Recorded(&[""]), Seed::Texts(esxi::COPIES)],
        rounds: 2500,
        run: esxi::parse,
    },
    Target {
        name: "fixture",
        seeds: &[Seed::Files(&[
            "fixtures/hosts/errors-vib.txt",
            "fixtures/hosts/errors-hostd.txt",
            "fixtures/hosts/facts-traps.txt",
        ])],
        rounds: 300,
        run: files::fixture,
    },
    Target { name: "bundle", seeds: &[Seed::Bundles], rounds: 5000, run: files::bundle },
    Target { name: "descriptor", seeds: &[Seed::Descriptors], rounds: 2000, run: files::descriptor },
    Target { name: "known_hosts", seeds: &[Seed::Texts(files::KNOWN_HOSTS)], rounds: 1500, run: files::known_hosts },
    Target { name: "key_file", seeds: &[Seed::Texts(files::KEY_FILES)], rounds: 4000, run: files::key_file },
    Target { name: "ssh_config", seeds: &[Seed::Texts(files::SSH_CONFIGS)], rounds: 1000, run: files::ssh_config },
    Target {
        name: "sshd_config",
        seeds: &[Seed::Recorded(&["sshd-config"]), Seed::Texts(files::SSHD_CONFIGS)],
        rounds: 2000,
        run: files::sshd_config,
    },
    Target { name: "settings_dump", seeds: &[Seed::Texts(dump::SETTINGS)], rounds: 2000, run: dump::settings },
    Target { name: "inventory", seeds: &[Seed::Texts(files::INVENTORIES)], rounds: 900, run: files::inventory },
    Target { name: "host_list", seeds: &[Seed::Texts(files::HOST_LISTS)], rounds: 400, run: files::host_list },
    Target {
        name: "playbook",
        seeds: &[
            Seed::Files(&["playbooks/nested-lab.yml", "playbooks/vmotion.yml", "playbooks/host-client.yml"]),
            Seed::Files(&["playbooks/clone-fixup.yml"]),
            Seed::Texts(playbooks::PLAYBOOKS),
        ],
        rounds: 1500,
        run: playbooks::playbook,
    },
    Target { name: "template", seeds: &[Seed::Texts(playbooks::TEMPLATES)], rounds: 700, run: playbooks::template },
    Target { name: "waivers", seeds: &[Seed::Texts(given::WAIVERS)], rounds: 1500, run: given::waivers },
    Target { name: "variables", seeds: &[Seed::Texts(given::VARIABLES)], rounds: 1500, run: given::variables },
    Target { name: "expectation", seeds: &[Seed::Texts(given::EXPECTATIONS)], rounds: 2000, run: given::expectation },
    Target { name: "undo", seeds: &[Seed::Texts(given::UNDOS)], rounds: 800, run: given::undo },
    Target { name: "edge", seeds: &[Seed::Texts(given::SHOWN)], rounds: 3000, run: given::edge },
    Target { name: "steps", seeds: &[Seed::Recorded(&[""])], rounds: 350, run: playbooks::steps },
    Target { name: "frame", seeds: &[Seed::Texts(streams::FRAMES)], rounds: 900, run: streams::frame },
    Target { name: "journal", seeds: &[Seed::Texts(streams::JOURNALS)], rounds: 500, run: streams::journal },
    Target {
        name: "identify",
        seeds: &[Seed::Recorded(&["uname", "bootbank", "process", "hostsummary"]), Seed::Texts(streams::FACTS)],
        rounds: 4000,
        run: streams::identify,
    },
    Target { name: "simulator", seeds: &[Seed::Texts(streams::CALLS)], rounds: 350, run: streams::simulator },
    Target {
        name: "lab_file",
        seeds: &[Seed::Files(&["labs/article.yml", "labs/standin.yml", "labs/two-node-8.yml"]), Seed::Texts(lab::LABS)],
        rounds: 700,
        run: lab::lab_file,
    },
    Target { name: "lab_journal", seeds: &[Seed::Texts(lab::THINGS)], rounds: 1500, run: lab::journal },
    Target { name: "doctor", seeds: &[Seed::Texts(lab::MACHINES)], rounds: 700, run: lab::doctor },
    Target { name: "monitor", seeds: &[Seed::Texts(lab::MONITOR)], rounds: 2000, run: lab::monitor },
    Target { name: "qemu", seeds: &[Seed::Texts(lab::VERSIONS)], rounds: 2000, run: lab::qemu },
    Target { name: "process", seeds: &[Seed::Texts(lab::PROCESSES)], rounds: 2000, run: lab::process },
    Target { name: "tables", seeds: &[Seed::Texts(lab::TABLES)], rounds: 2000, run: lab::tables },
    Target { name: "frames", seeds: &[Seed::Made(images::frames)], rounds: 3000, run: lab::frames },
    Target { name: "switch", seeds: &[Seed::Texts(lab::SWITCH)], rounds: 2000, run: lab::switch },
    Target { name: "iso", seeds: &[Seed::Made(images::discs)], rounds: 2000, run: lab::iso },
    Target {
        name: "bootcfg",
        seeds: &[Seed::Texts(images::BOOT_CFGS), Seed::Texts(lab::KICKSTARTS)],
        rounds: 2000,
        run: install::bootcfg,
    },
    Target { name: "lint_ks", seeds: &[Seed::Texts(lab::KICKSTARTS)], rounds: 700, run: install::lint_ks },
    Target { name: "http_head", seeds: &[Seed::Texts(lab::REQUESTS)], rounds: 2000, run: install::http_head },
    Target { name: "screen", seeds: &[Seed::Made(images::screens)], rounds: 3000, run: lab::screen },
    Target { name: "console", seeds: &[Seed::Texts(lab::CONSOLES)], rounds: 500, run: lab::console },
    Target { name: "kernel", seeds: &[Seed::Made(images::kernels)], rounds: 2000, run: crate::lab::standin::fuzz },
    Target { name: "standin_ks", seeds: &[Seed::Texts(lab::KICKSTARTS)], rounds: 2000, run: lab::standin_script },
    Target {
        name: "standin_media",
        seeds: &[Seed::Made(images::discs), Seed::Made(images::sticks)],
        rounds: 4000,
        run: lab::standin_media,
    },
    Target { name: "standin_state", seeds: &[Seed::Made(images::states)], rounds: 800, run: lab::standin_state },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// What a host's output becomes before any reader sees it.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The input as `N` fields, parted by NUL; what is missing is empty.
fn fields<const N: usize>(bytes: &[u8]) -> [Cow<'_, str>; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| text(parts.next().unwrap_or_default()))
}

/// An image's sectors from the sixteenth of ISO 9660 on, put where they belong, with some empty ones behind: a changed
/// image that got shorter is not only a short image.
pub(crate) fn behind_system_area(bytes: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 16 * 2048];
    image.extend_from_slice(bytes);
    image.resize(image.len().max(32 * 2048), 0);
    image
}

/// How much an answer is: the length of its debug form.
pub(crate) fn size(answer: &impl std::fmt::Debug) -> usize {
    struct Count(usize);
    impl std::fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = std::fmt::Write::write_fmt(&mut count, format_args!("{answer:?}"));
    count.0
}

/// An answer of some reader: its size, or that of its error's text, which must not be empty.
pub(crate) fn said<T: std::fmt::Debug, E: std::fmt::Display>(answer: &Result<T, E>) -> usize {
    match answer {
        Ok(answer) => size(answer),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.trim().is_empty(), "an error without a word");
            text.len()
        }
    }
}
