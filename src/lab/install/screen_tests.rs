use super::*;

fn screen(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Screen {
    let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
    Screen { width, height, rgb }
}

/// Text: some pixels of every second block of eight lines.
fn text(ink: [u8; 3], paper: [u8; 3]) -> Screen {
    screen(640, 480, |x, y| if y % 16 < 8 && (x * 7 + y * 13) % 11 == 0 { ink } else { paper })
}

fn ppm(s: &Screen) -> Vec<u8> {
    [format!("P6\n{} {}\n255\n", s.width, s.height).as_bytes(), &s.rgb].concat()
}

#[test]
fn png_and_ppm_give_the_same_screen() {
    let s = screen(31, 17, |x, y| [x as u8 * 8, y as u8 * 15, 7]);
    let back = Screen::decode(&s.to_png().unwrap()).unwrap();
    assert!(back == s && back.hash() == s.hash() && back.difference(&s) == 0.0);
    assert!(Screen::decode(&ppm(&s)).unwrap() == s);
    let comment = [b"P6 # made by QEMU\n31 17 # size\n255\n".as_slice(), &s.rgb].concat();
    assert!(Screen::decode(&comment).unwrap() == s);
    // The header's blank counts as one, even if the first pixel looks like another.
    let blanks = screen(2, 1, |_, _| [b' ', b'\n', b'1']);
    assert!(Screen::decode(&ppm(&blanks)).unwrap() == blanks);
}

#[test]
fn grey_and_transparent_pngs_are_read() {
    let encode = |color, data: &[u8]| {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 2, 1);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        out
    };
    assert_eq!(Screen::decode(&encode(png::ColorType::Grayscale, &[1, 2])).unwrap().rgb, [1, 1, 1, 2, 2, 2]);
    assert_eq!(Screen::decode(&encode(png::ColorType::GrayscaleAlpha, &[1, 9, 2, 9])).unwrap().rgb, [1, 1, 1, 2, 2, 2]);
    let rgba = encode(png::ColorType::Rgba, &[1, 2, 3, 9, 4, 5, 6, 9]);
    assert_eq!(Screen::decode(&rgba).unwrap().rgb, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn looks() {
    for (ink, paper, look) in [
        ([255; 3], [0xaa, 0, 0xaa], Look::PurpleScreen),
        ([255; 3], [0x80, 0x10, 0x90], Look::PurpleScreen),
        ([0; 3], [0xaa, 0, 0xaa], Look::Other),
        ([0xaa; 3], [0; 3], Look::TextOnBlack),
        ([255; 3], [0; 3], Look::TextOnBlack),
        ([255; 3], [0, 0, 0xaa], Look::Other),
        ([255; 3], [0x30, 0x0a, 0x24], Look::Other),
        ([255; 3], [0xd0, 0x40, 0xd0], Look::PurpleScreen),
        ([255; 3], [0xff, 0xa0, 0xc0], Look::Other),
    ] {
        assert_eq!(text(ink, paper).look(), look, "{ink:?} on {paper:?}");
    }
    assert_eq!(screen(640, 480, |_, _| [0; 3]).look(), Look::Blank);
    assert_eq!(screen(640, 480, |x, y| [255 * u8::from(x < 8 && y < 2); 3]).look(), Look::Blank, "a cursor");
    let halves = screen(640, 480, |_, y| if y < 200 { [0x60; 3] } else { [0xff, 0xb8, 0x20] });
    assert_eq!(halves.look(), Look::EsxiYellowGrey);
}

#[test]
fn changes_are_shares() {
    let empty = screen(100, 100, |_, _| [0; 3]);
    let tenth = screen(100, 100, |_, y| [u8::from(y < 10); 3]);
    assert_eq!(empty.difference(&tenth), 0.1);
    assert_eq!(empty.difference(&screen(50, 200, |_, _| [0; 3])), 1.0);
    assert_ne!(empty.hash(), screen(50, 200, |_, _| [0; 3]).hash());
}

#[test]
fn damaged_dumps_are_errors() {
    let s = screen(8, 8, |_, _| [1, 2, 3]);
    let cut = &ppm(&s)[..100];
    assert!(matches!(Screen::decode(cut), Err(ScreenError::Damaged(_))));
    assert_eq!(Screen::decode(b"GIF89a"), Err(ScreenError::Format));
    assert_eq!(Screen::decode(b"P6 9000 10 255\n"), Err(ScreenError::TooLarge(9000, 10)));
    assert_eq!(Screen::decode(b"P6 8000 8000 255\n"), Err(ScreenError::TooLarge(8000, 8000)));
    for bad in [&b"P6"[..], b"P6 0 5 255\n", b"P6 1 1 65535\n\0\0\0\0\0\0", b"P6 99999999999 1 255\n", b"P6 # "] {
        assert!(matches!(Screen::decode(bad), Err(ScreenError::Damaged(_))), "{bad:?}");
    }
    let png = s.to_png().unwrap();
    assert!(matches!(Screen::decode(&png[..png.len() / 2]), Err(ScreenError::Damaged(_))));
}

#[test]
fn mutated_dumps_never_panic() {
    let s = screen(16, 16, |x, y| [x as u8, y as u8, 0]);
    let mut good = 0;
    for bytes in [s.to_png().unwrap(), ppm(&s)] {
        for at in 0..bytes.len().min(400) {
            for byte in [0, 1, b'9', 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                good += usize::from(crate::lab::install::fuzzing::screen(&changed) > 700);
            }
            crate::lab::install::fuzzing::screen(&bytes[..at]);
        }
    }
    assert!(good > 100, "{good}");
}
