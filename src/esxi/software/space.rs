//! Where on a host a package fits: the RAM disk only with room to spare, else the emptiest VMFS datastore.

use crate::esxi::forms::Record;

/// A directory for a staged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Directory on the host, no `/` at the end.
    pub directory: String,
    /// Whether it was made for this and is to be removed again.
    pub made: bool,
}

/// How many times its own size a package needs in the RAM disk: the upload, what the installer unpacks from it
/// beside it, and a reserve so that nothing else on the host starves.
const ROOM_TENTHS: u64 = 22;

/// Free bytes of a RAM disk, from `vdf -h`; `None` when it is not in there.
///
/// The section under `Ramdisk  Size  Used  Available Use% Mounted on` is read; sizes are like `256M` or `12K`.
pub fn ramdisk_free(vdf: &str, name: &str) -> Option<u64> {
    let row = vdf.lines().skip_while(|l| !l.starts_with("Ramdisk")).skip(1);
    let cells: Vec<&str> = row.map(|l| l.split_whitespace().collect::<Vec<_>>()).find(|c| c.first() == Some(&name))?;
    human(cells.get(3)?)
}

/// Bytes of a size such as `0B`, `12K`, `1.5M` or `2G`.
fn human(size: &str) -> Option<u64> {
    let (number, unit) = size.split_at(size.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(size.len()));
    let factor = match unit.chars().next() {
        None | Some('B') => 1.0,
        Some('K') => 1024.0,
        Some('M') => 1_048_576.0,
        Some('G') => 1_073_741_824.0,
        Some('T') => 1_099_511_627_776.0,
        Some(_) => return None,
    };
    number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| (n * factor) as u64)
}

/// Chooses where a file of `size` bytes can be put, or says why nowhere.
///
/// `filesystems` is the table of `esxcli storage filesystem list`; VMFS only (not VMFSOS, not vfat, not vSAN,
/// where a plain directory cannot be made).
pub fn choose_place(size: u64, tmp_free: Option<u64>, filesystems: &[Record]) -> Result<Place, String> {
    let need = size.saturating_mul(ROOM_TENTHS) / 10;
    if tmp_free.is_some_and(|free| free >= need) {
        return Ok(Place { directory: "/tmp".into(), made: false });
    }
    let vmfs = filesystems.iter().filter_map(|row| {
        let kind = row.get("Type")?;
        let mounted = row.get("Mounted").is_none_or(|m| m.eq_ignore_ascii_case("true"));
        let fits = kind == "VMFS" || kind.starts_with("VMFS-");
        let free = row.get("Free")?.parse::<u64>().ok()?;
        (fits && mounted).then_some((free, row.get("Mount Point")?, row.get("Volume Name").map_or("", String::as_str)))
    });
    let best = vmfs.max_by_key(|(free, ..)| *free);
    match best {
        Some((free, mount, _)) if free >= need => {
            Ok(Place { directory: format!("{}/.esxprep", mount.trim_end_matches('/')), made: true })
        }
        other => Err(format!(
            "there is no place on the host for {}: /tmp has {} free and {} would be needed with what the installer unpacks; {}. Free some space, add a datastore, or put the file on the host and use `on_host: true`",
            mib(size),
            tmp_free.map_or("an unknown amount".into(), mib),
            mib(need),
            match other {
                Some((free, _, name)) => format!("the emptiest VMFS datastore ({name}) has {}", mib(free)),
                None => "no VMFS datastore is mounted".into(),
            }
        )),
    }
}

/// Bytes for people.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{forms, recorded};

    /// The form of 6.x; not recorded whole, sizes as described for 6.x.
    const VDF: &str = "Tardisk                  Space      Used\nsb.v00                    139M      139M\n-----\nRamdisk                   Size      Used Available Use% Mounted on\nroot                       32M        1M       30M   4% --\netc                        28M      220K       27M   0% --\ntmp                       256M       12K      255M   0% --\n";

    #[test]
    fn the_ram_disk_only_with_room_to_spare() {
        assert_eq!(ramdisk_free(VDF, "tmp"), Some(255 << 20));
        assert_eq!(ramdisk_free(VDF, "var"), None);
        assert_eq!(ramdisk_free("", "tmp"), None);
        let p = choose_place(10 << 20, Some(255 << 20), &[]).unwrap();
        assert_eq!(p, Place { directory: "/tmp".into(), made: false });
        let e = choose_place(200 << 20, Some(255 << 20), &[]).unwrap_err();
        assert!(e.contains("no VMFS datastore") && e.contains("200.0 MiB"), "{e}");
    }

    #[test]
    fn the_emptiest_vmfs_otherwise() {
        for (text, want) in [
            (
                include_str!("../../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"),
                "/vmfs/volumes/5bc7459f-967eeb48-b3f7-20677cd9a16c/.esxprep",
            ),
            (
                include_str!("../../../fixtures/transcripts/8.0/storage-filesystem-list-vmfsos.txt"),
                "/vmfs/volumes/6a11caec-c7e247f8-6325-40a8f055c48c/.esxprep",
            ),
        ] {
            let rows = forms::table(&recorded(text)).unwrap();
            let p = choose_place(600 << 20, Some(255 << 20), &rows).unwrap();
            assert_eq!(p, Place { directory: want.into(), made: true });
            assert!(choose_place(4 << 40, None, &rows).is_err());
        }
    }
}
