//! A streaming reader of Unix `ar` archives, the outer form of a VIB. Our own, because it must be bounded and
//! must never trust a length: these files come from anywhere.

use std::io::Read;

use super::BundleError;

/// What an `ar` archive begins with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Longest GNU name table or BSD long name that is read.
const MAX_NAMES: u64 = 64 * 1024;

/// Reads the members of an archive one after the other.
pub struct Ar<R> {
    inner: R,
    long_names: Vec<u8>,
    at: u64,
}

/// The header of one member: its data follows in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, without the trailing `/` of the GNU form.
    pub name: String,
    /// Bytes of data.
    pub size: u64,
    padded: bool,
}

fn bad(problem: impl Into<String>) -> BundleError {
    BundleError::NotVib(problem.into())
}

impl<R: Read> Ar<R> {
    /// Starts reading; the magic must be there.
    pub fn new(mut inner: R) -> Result<Self, BundleError> {
        let mut magic = [0; 8];
        inner.read_exact(&mut magic).map_err(|_| bad("it is shorter than an ar archive's first 8 bytes"))?;
        if &magic != MAGIC {
            return Err(bad("it does not begin with `!<arch>`, so it is no ar archive"));
        }
        Ok(Self { inner, long_names: Vec::new(), at: 8 })
    }

    /// The next member's header, or `None` at the end. The data of the one before must have been read
    /// (see [`Ar::data`]). GNU name tables (`//`, `/123`) and BSD names (`#1/len`) are understood.
    pub fn next(&mut self) -> Result<Option<Member>, BundleError> {
        loop {
            let mut header = [0u8; 60];
            let got = read_up_to(&mut self.inner, &mut header)?;
            if got == 0 || (got == 1 && header[0] == b'\n') {
                return Ok(None);
            }
            let at = self.at;
            self.at += got as u64;
            if got < 60 || &header[58..60] != b"`\n" {
                return Err(bad(format!("broken ar member header at byte {at}: the file is cut short or damaged")));
            }
            let field = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
            let mut size: u64 = field(48..58).parse().map_err(|_| bad(format!("bad member size at byte {at}")))?;
            let raw = field(0..16);
            let padded = size % 2 == 1;
            if raw == "//" {
                self.long_names = self.data(&Member { name: raw, size, padded }, MAX_NAMES)?;
                continue;
            }
            if raw == "/" || raw == "/SYM64/" {
                let member = Member { name: raw, size, padded };
                self.stream(&member, |_| {})?;
                continue;
            }
            let name = if let Some(len) = raw.strip_prefix("#1/") {
                let len: u64 = len.parse().map_err(|_| bad(format!("bad long name at byte {at}")))?;
                if len > size || len > MAX_NAMES {
                    return Err(bad(format!("bad long name at byte {at}")));
                }
                let mut name = vec![0; len as usize];
                self.inner.read_exact(&mut name).map_err(|_| bad("the file is cut short"))?;
                self.at += len;
                size -= len;
                String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
            } else if let Some(offset) = raw.strip_prefix('/').and_then(|o| o.parse::<usize>().ok()) {
                let rest = self.long_names.get(offset..).ok_or_else(|| bad(format!("bad long name at byte {at}")))?;
                let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                String::from_utf8_lossy(&rest[..end]).trim_end_matches('/').to_owned()
            } else {
                raw.strip_suffix('/').unwrap_or(&raw).to_owned()
            };
            return Ok(Some(Member { name, size, padded }));
        }
    }

    /// Reads a member's data into memory, up to `limit` bytes.
    pub fn data(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, BundleError> {
        if member.size > limit {
            return Err(BundleError::TooBig { what: member.name.clone(), size: member.size, limit });
        }
        let mut out = Vec::new();
        self.stream(member, |chunk| out.extend_from_slice(chunk))?;
        Ok(out)
    }

    /// Passes a member's data to `sink` in chunks.
    pub fn stream(&mut self, member: &Member, mut sink: impl FnMut(&[u8])) -> Result<(), BundleError> {
        let mut left = member.size;
        let mut buffer = vec![0u8; 64 * 1024];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let got = read_up_to(&mut self.inner, &mut buffer[..want])?;
            if got == 0 {
                return Err(bad(format!("member {} is cut short: {left} bytes are missing", member.name)));
            }
            sink(&buffer[..got]);
            left -= got as u64;
            self.at += got as u64;
        }
        if member.padded {
            let mut pad = [0u8; 1];
            self.at += read_up_to(&mut self.inner, &mut pad)? as u64;
        }
        Ok(())
    }
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, BundleError> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(BundleError::Read(e.to_string())),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, "100644").into_bytes()
    }

    fn names(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut ar = Ar::new(bytes).unwrap();
        let mut out = Vec::new();
        while let Some(m) = ar.next().unwrap() {
            let data = ar.data(&m, 1 << 20).unwrap();
            out.push((m.name, data));
        }
        out
    }

    #[test]
    fn gnu_and_bsd_long_names_and_odd_sizes() {
        let mut a = MAGIC.to_vec();
        a.extend(header("//", 26));
        a.extend(b"a_name_longer_than_16.bin/");
        a.extend(header("/0", 3));
        a.extend(b"abc\n");
        a.extend(header("#1/20", 22));
        a.extend(b"bsd-name-of-20-chars");
        a.extend(b"xy");
        a.extend(header("plain/", 1));
        a.extend(b"z\n");
        assert_eq!(
            names(&a),
            vec![
                ("a_name_longer_than_16.bin".into(), b"abc".to_vec()),
                ("bsd-name-of-20-chars".into(), b"xy".to_vec()),
                ("plain".into(), b"z".to_vec()),
            ]
        );
    }

    #[test]
    fn a_size_beyond_the_file_is_an_error_not_an_allocation() {
        let mut a = MAGIC.to_vec();
        a.extend(header("descriptor.xml", 999_999_999));
        a.extend(b"<vib/>");
        let mut ar = Ar::new(&a[..]).unwrap();
        let m = ar.next().unwrap().unwrap();
        assert!(matches!(ar.data(&m, 1 << 20), Err(BundleError::TooBig { .. })));
        assert!(matches!(ar.stream(&m, |_| {}), Err(BundleError::NotVib(_))));
    }
}
