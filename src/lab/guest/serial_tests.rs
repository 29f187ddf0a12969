use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;

#[test]
fn control_sequences_are_taken_out() {
    for (bytes, text) in [
        (&b"\x1b[2J\x1b[1;31mred\x1b[0m text\r\n"[..], "red text"),
        (b"10%\r20%\r30%\n", "30%"),
        (b"ab\x08c", "ac"),
        (b"\x1b]0;title\x07a\x1b]0;t\x1b\\b", "ab"),
        (b"\x1b(Bx\x1b=y", "xy"),
        (b"a\tb\x00\x07", "a b"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"\x1b[", ""),
        (b"\x1b", ""),
    ] {
        assert_eq!(clean(bytes), text, "{bytes:?}");
    }
}

#[tokio::test]
async fn lines_are_followed_as_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("serial");
    let mut serial = Serial::follow(&path, 0);
    assert_eq!(serial.try_next(true).unwrap(), None, "the file is not there yet");
    let writer = path.clone();
    let task = tokio::spawn(async move {
        for part in ["one\ntw", "o\n", "login: "] {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&writer).unwrap();
            file.write_all(part.as_bytes()).unwrap();
            sleep(Duration::from_millis(60)).await;
        }
    });
    assert_eq!(serial.next().await.unwrap(), Line { offset: 0, text: "one".into(), whole: true });
    assert_eq!(serial.next().await.unwrap(), Line { offset: 4, text: "two".into(), whole: true });
    task.await.unwrap();
    assert_eq!(serial.try_next(false).unwrap(), None);
    assert_eq!(serial.try_next(true).unwrap(), Some(Line { offset: 8, text: "login: ".into(), whole: false }));
    assert_eq!(serial.offset(), 15);
    // Begun anew after it was moved aside.
    fs::write(&path, "new\n").unwrap();
    assert_eq!(serial.next().await.unwrap().text, "new");
}

#[tokio::test]
async fn a_text_is_waited_for_and_found_across_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("serial");
    fs::write(&path, "READY old\nREA").unwrap();
    let mut serial = Serial::follow(&path, 10);
    assert_eq!(serial.wait_for(&["READY"], Duration::ZERO).await.unwrap(), None);
    let writer = path.clone();
    let task = tokio::spawn(async move {
        sleep(Duration::from_millis(120)).await;
        fs::OpenOptions::new().append(true).open(&writer).unwrap().write_all(b"DY\nnext\n").unwrap();
    });
    let found = serial.wait_for(&["PANIC", "READY"], Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(found, Found { which: 1, offset: 10, end: 15 });
    task.await.unwrap();
    assert_eq!(serial.next().await.unwrap().text, "", "reading goes on after it");
    assert_eq!(serial.next().await.unwrap().text, "next");
}

#[test]
fn a_text_is_found_wherever_the_pieces_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("serial");
    for before in [0, 1, PIECE - 3, PIECE - 1, PIECE, 3 * PIECE - 2] {
        let mut content = vec![b'.'; before];
        content.extend(b"MARK and more");
        fs::write(&path, &content).unwrap();
        let found = search(&path, 0, &["MARKS", "MARK"]).unwrap().unwrap();
        assert_eq!((found.offset, found.which), (before as u64, 1));
        assert_eq!(search(&path, found.end, &["MARK"]).unwrap(), None);
    }
    assert_eq!(search(&path, 0, &[]).unwrap(), None);
    assert_eq!(search(&path, 0, &[""]).unwrap(), None);
}

#[test]
fn the_last_lines_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("serial");
    assert!(last_lines(&path, 3).is_empty());
    let mut text: String = (0..20_000).map(|n| format!("line {n}\r\n\r\n")).collect();
    text.push_str("prompt# ");
    fs::write(&path, text).unwrap();
    assert_eq!(last_lines(&path, 2), ["line 19999", "prompt# "]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No byte is lost or given twice, and no line is longer than it may be.
    #[test]
    fn any_bytes_in_any_pieces(runs in proptest::collection::vec(
        proptest::collection::vec((prop_oneof![Just(b'\n'), Just(0x1b), Just(b'['), any::<u8>()], 1usize..700), 0..12), 0..6)) {
        let run = |(byte, length): &(u8, usize)| if *byte == b'\n' { vec![*byte] } else { vec![*byte; *length] };
        let pieces: Vec<Vec<u8>> = runs.iter().map(|runs| runs.iter().flat_map(run).collect()).collect();
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for piece in &pieces {
            cutter.feed(piece);
            while let Some(line) = cutter.next_line() {
                lines.push(line);
            }
        }
        lines.extend(cutter.rest());
        let all: Vec<u8> = pieces.concat();
        let ends = lines.iter().skip(1).map(|l| l.offset).chain([all.len() as u64]);
        let mut at = 0;
        for (line, end) in lines.iter().zip(ends) {
            prop_assert_eq!(line.offset, at);
            prop_assert!(end - at <= LINE_MAX as u64);
            prop_assert_eq!(&line.text, &clean(&all[at as usize..end as usize]));
            prop_assert!(!line.text.contains(char::is_control));
            at = end;
        }
        prop_assert_eq!(at, all.len() as u64);
    }
}
