//! When an upload reports: at places that depend on the file's size only, so that a replayed run reports the same.

/// Bytes between two reports.
pub const EVERY: u64 = 256 * 1024;

/// Turns bytes sent, however they come, into reports at each full 256 KiB and at the end.
#[derive(Debug, Default)]
pub struct Milestones {
    told: u64,
}

impl Milestones {
    /// So many bytes are sent in all.
    pub fn reached(&mut self, sent: u64, progress: &mut (dyn FnMut(u64) + Send)) {
        while self.told + EVERY <= sent {
            self.told += EVERY;
            progress(self.told);
        }
    }

    /// Everything is sent.
    pub fn whole(&mut self, size: u64, progress: &mut (dyn FnMut(u64) + Send)) {
        self.reached(size, progress);
        if self.told < size {
            self.told = size;
            progress(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(pieces: &[u64], size: u64) -> Vec<u64> {
        let mut all = Vec::new();
        let mut milestones = Milestones::default();
        for sent in pieces {
            milestones.reached(*sent, &mut |n| all.push(n));
        }
        milestones.whole(size, &mut |n| all.push(n));
        all
    }

    #[test]
    fn reports_do_not_depend_on_the_pieces() {
        let size = 2 * EVERY + 5;
        let wanted = vec![EVERY, 2 * EVERY, size];
        assert_eq!(reports(&[], size), wanted);
        assert_eq!(reports(&[1, EVERY - 1, EVERY, EVERY + 1, size], size), wanted);
        assert_eq!(reports(&[2 * EVERY], 2 * EVERY), [EVERY, 2 * EVERY]);
        assert_eq!(reports(&[7], 7), [7]);
        assert!(reports(&[], 0).is_empty());
    }
}
