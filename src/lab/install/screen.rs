//! Screens of a guest, as QEMU's `screendump` writes them (PPM, or PNG since QEMU 7.1): decoded, compared, and
//! recognised where the look of ESXi allows it.
//!
//! The colours of ESXi's screens are known from public screenshots only; nothing here was compared with a real one.

use std::fmt;
use std::io::Cursor;

use sha2::{Digest, Sha256};

use super::{Confidence, Evidence};

/// Largest side of a screen, in pixels.
const MAX_SIDE: u32 = 8192;
/// Most pixels of a screen.
const MAX_PIXELS: u64 = 32 * 1024 * 1024;

/// Why a screen cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// Neither PNG nor PPM.
    #[error("the screen dump is neither a PNG nor a binary PPM (P6); QEMU was asked for one of them")]
    Format,
    /// A header or a length that cannot be.
    #[error("the screen dump is damaged: {0}")]
    Damaged(String),
    /// Too many pixels.
    #[error("the screen dump says it is {0} x {1}; more than {MAX_SIDE} on a side is not read")]
    TooLarge(u32, u32),
    /// Writing failed.
    #[error("cannot write the screen as PNG: {0}")]
    Write(String),
}

/// A screen, three bytes a pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Red, green and blue of each pixel, line by line.
    pub rgb: Vec<u8>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Screen({} x {})", self.width, self.height)
    }
}

/// What a screen looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// One colour all over, mostly black: nothing was drawn yet, or the screen is asleep.
    Blank,
    /// ESXi's purple screen: the kernel has stopped.
    PurpleScreen,
    /// The yellow and grey of ESXi's boot and console screens.
    EsxiYellowGrey,
    /// Light text on black: a BIOS, a boot loader, early boot.
    TextOnBlack,
    /// Anything else.
    Other,
}

/// How a look is told, with its evidence.
#[derive(Debug, Clone, Copy)]
pub struct LookRule {
    /// The look.
    pub look: Look,
    /// How it is told.
    pub how: &'static str,
    /// Where that is known from.
    pub evidence: Evidence,
}

/// The rules of [`Screen::look`].
pub const LOOKS: &[LookRule] = &[
    LookRule {
        look: Look::PurpleScreen,
        how: "at least 60 % of the pixels purple (red and blue alike, hardly any green) and some of them white",
        evidence: Evidence { source: "public screenshots of purple screens", confidence: Confidence::Medium },
    },
    LookRule {
        look: Look::EsxiYellowGrey,
        how: "at least 15 % of the pixels yellow or amber and at least 15 % grey",
        evidence: Evidence { source: "public screenshots of the console screen", confidence: Confidence::Low },
    },
    LookRule {
        look: Look::Blank,
        how: "all pixels but one in a thousand of one colour",
        evidence: Evidence { source: "seen on QEMU 10.0.2 before the firmware draws", confidence: Confidence::High },
    },
    LookRule {
        look: Look::TextOnBlack,
        how: "at least 60 % black and almost all of the rest grey or white",
        evidence: Evidence { source: "seen on QEMU 10.0.2 with SeaBIOS", confidence: Confidence::High },
    },
];

impl Screen {
    /// Reads a PNG or a binary PPM.
    pub fn decode(bytes: &[u8]) -> Result<Self, ScreenError> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Self::decode_png(bytes)
        } else if bytes.starts_with(b"P6") {
            Self::decode_ppm(bytes)
        } else {
            Err(ScreenError::Format)
        }
    }

    fn decode_png(bytes: &[u8]) -> Result<Self, ScreenError> {
        let bad = |error: png::DecodingError| ScreenError::Damaged(error.to_string());
        let limits = png::Limits { bytes: (MAX_PIXELS * 8) as usize };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(bad)?;
        let (width, height) = (reader.info().width, reader.info().height);
        check_size(width, height)?;
        let size = reader.output_buffer_size().ok_or_else(|| ScreenError::Damaged("its size is absurd".into()))?;
        let mut data = vec![0; size];
        let frame = reader.next_frame(&mut data).map_err(bad)?;
        let channels = frame.color_type.samples();
        let rgb = data[..frame.buffer_size()]
            .chunks_exact(channels)
            .flat_map(|p| if channels < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] })
            .collect();
        Self { width, height, rgb }.checked()
    }

    fn decode_ppm(bytes: &[u8]) -> Result<Self, ScreenError> {
        let mut at = 2;
        let mut number = || -> Option<u32> {
            loop {
                match bytes.get(at)? {
                    b'#' => at += bytes[at..].iter().position(|b| *b == b'\n')?,
                    b if b.is_ascii_whitespace() => at += 1,
                    _ => break,
                }
            }
            let digits = bytes[at..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
            let value = std::str::from_utf8(&bytes[at..at + digits]).ok()?.parse().ok()?;
            at += digits;
            Some(value)
        };
        let header = (number(), number(), number());
        let (Some(width), Some(height), Some(most)) = header else {
            return Err(ScreenError::Damaged("its header is cut off".into()));
        };
        if most != 255 {
            return Err(ScreenError::Damaged(format!("{most} as the largest value; only 255 is read")));
        }
        check_size(width, height)?;
        // Exactly one blank parts the header from the pixels.
        let rgb = bytes.get(at + 1..).unwrap_or_default();
        let wanted = width as usize * height as usize * 3;
        match rgb.get(..wanted) {
            Some(rgb) => Self { width, height, rgb: rgb.to_vec() }.checked(),
            None => Err(ScreenError::Damaged(format!("{} bytes of pixels where {wanted} should be", rgb.len()))),
        }
    }

    fn checked(self) -> Result<Self, ScreenError> {
        let wanted = self.width as usize * self.height as usize * 3;
        if self.rgb.len() == wanted {
            Ok(self)
        } else {
            Err(ScreenError::Damaged(format!("{} bytes of pixels where {wanted} should be", self.rgb.len())))
        }
    }

    /// As PNG, for saving.
    pub fn to_png(&self) -> Result<Vec<u8>, ScreenError> {
        let bad = |error: png::EncodingError| ScreenError::Write(error.to_string());
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(bad)?;
        writer.write_image_data(&self.rgb).map_err(bad)?;
        writer.finish().map_err(bad)?;
        Ok(out)
    }

    /// A hash of size and pixels: equal hashes mean that the screen has not changed. A blinking cursor changes it.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.width.to_le_bytes());
        hash.update(self.height.to_le_bytes());
        hash.update(&self.rgb);
        hash.finalize().into()
    }

    /// The share of pixels that differ from another screen, 0 to 1; 1 if the sizes differ. A cursor is below 0.001.
    pub fn difference(&self, other: &Self) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 1.0;
        }
        let pairs = self.rgb.chunks_exact(3).zip(other.rgb.chunks_exact(3));
        pairs.filter(|(a, b)| a != b).count() as f64 / (self.rgb.len() / 3).max(1) as f64
    }

    /// What it looks like, by [`LOOKS`].
    pub fn look(&self) -> Look {
        let total = (self.rgb.len() / 3).max(1);
        let mut counts = Counts::default();
        // The last pixel is background where a cursor or a logo may be the first.
        let paper = self.rgb.last_chunk::<3>().unwrap_or(&[0, 0, 0]);
        for pixel in self.rgb.chunks_exact(3) {
            counts.same += usize::from(pixel == paper);
            match Shade::of(pixel[0], pixel[1], pixel[2]) {
                Shade::Black => counts.black += 1,
                Shade::White => counts.white += 1,
                Shade::Grey => counts.grey += 1,
                Shade::Purple => counts.purple += 1,
                Shade::Yellow => counts.yellow += 1,
                Shade::Coloured => {}
            }
        }
        let share = |count: usize, percent: usize| count * 100 >= total * percent;
        if share(counts.purple, 60) && counts.white * 1000 >= total {
            Look::PurpleScreen
        } else if (total - counts.same) * 1000 <= total {
            Look::Blank
        } else if share(counts.yellow, 15) && share(counts.grey, 15) {
            Look::EsxiYellowGrey
        } else if share(counts.black, 60) && share(counts.black + counts.grey + counts.white, 95) {
            Look::TextOnBlack
        } else {
            Look::Other
        }
    }
}

#[derive(Default)]
struct Counts {
    same: usize,
    black: usize,
    white: usize,
    grey: usize,
    purple: usize,
    yellow: usize,
}

enum Shade {
    Black,
    White,
    Grey,
    Purple,
    Yellow,
    Coloured,
}

impl Shade {
    fn of(r: u8, g: u8, b: u8) -> Self {
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        let (r, g, b) = (u32::from(r), u32::from(g), u32::from(b));
        if high < 40 {
            Self::Black
        } else if high - low < 40 {
            if low >= 200 { Self::White } else { Self::Grey }
        // VGA's magenta is aa00aa; screenshots of purple screens go from 800080 to a bluish b040b0.
        } else if r >= 70 && b >= 70 && g * 2 < r.min(b) && r.max(b) * 10 <= r.min(b) * 18 {
            Self::Purple
        } else if r >= 150 && g * 10 >= r * 6 && b * 2 < r {
            Self::Yellow
        } else {
            Self::Coloured
        }
    }
}

fn check_size(width: u32, height: u32) -> Result<(), ScreenError> {
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 {
        return Err(ScreenError::Damaged(format!("a size of {width} x {height}")));
    }
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(ScreenError::TooLarge(width, height));
    }
    Ok(())
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
