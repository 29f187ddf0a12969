//! Losing and delaying frames on purpose, the same way in every run of one seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong with the frames to a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultConfig {
    /// The share of frames that is lost, 0 to 1.
    pub loss: f64,
    /// Milliseconds that each frame is late.
    pub latency_ms: u64,
    /// At most so many milliseconds more, evenly spread; frames keep their order.
    pub jitter_ms: u64,
    /// What the choice of frames grows from.
    pub seed: u64,
}

/// The faults of one port, as they come.
#[derive(Debug, Clone)]
pub struct Faults {
    config: FaultConfig,
    state: u64,
}

impl FaultConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.loss) {
            return Err(format!("a loss of {} cannot be; 0 to 1 can", self.loss));
        }
        /// More would only be a queue that fills up.
        const MOST_MS: u64 = 10_000;
        let late = self.latency_ms.saturating_add(self.jitter_ms);
        if late > MOST_MS { Err(format!("a delay of {late} ms is too long; {MOST_MS} is the most")) } else { Ok(()) }
    }
}

impl Faults {
    /// From its beginning.
    pub fn new(config: FaultConfig) -> Self {
        Self { config, state: config.seed }
    }

    /// How late the next frame is; nothing if it is lost.
    pub fn next_frame(&mut self) -> Option<Duration> {
        let FaultConfig { loss, latency_ms, jitter_ms, .. } = self.config;
        // 53 bits are what a double can tell apart in 0..1.
        if loss > 0.0 && ((self.random() >> 11) as f64) < loss * (1u64 << 53) as f64 {
            return None;
        }
        let jitter = if jitter_ms > 0 { self.random() % (jitter_ms * 1000 + 1) } else { 0 };
        Some(Duration::from_micros(latency_ms * 1000 + jitter))
    }

    /// SplitMix64: written out, so that a seed means the same in every version of esxprep.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of SplitMix64 for seed 0, as published with it.
        let mut faults = Faults::new(FaultConfig::default());
        assert_eq!(faults.random(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(faults.random(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn a_seed_loses_the_same_frames_every_time() {
        let config = FaultConfig { loss: 0.25, latency_ms: 5, jitter_ms: 2, seed: 7 };
        let run = || {
            let mut faults = Faults::new(config);
            (0..4000).map(|_| faults.next_frame()).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        let lost = first.iter().filter(|f| f.is_none()).count();
        assert!((900..1100).contains(&lost), "{lost} of 4000 at a loss of 0.25");
        let range = Duration::from_millis(5)..=Duration::from_millis(7);
        assert!(first.iter().flatten().all(|late| range.contains(late)));
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let mut none = Faults::new(FaultConfig::default());
        assert!((0..1000).all(|_| none.next_frame() == Some(Duration::ZERO)));
        let mut all = Faults::new(FaultConfig { loss: 1.0, ..FaultConfig::default() });
        assert!((0..1000).all(|_| all.next_frame().is_none()));
        assert!(FaultConfig { loss: 1.5, ..FaultConfig::default() }.check().is_err());
        assert!(FaultConfig { loss: f64::NAN, ..FaultConfig::default() }.check().is_err());
    }
}
